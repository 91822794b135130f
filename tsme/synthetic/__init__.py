"""Synthetic stand-ins for real data sets: people drawn for visible and infrared cameras.

The layouts are those of RegDB (visible and thermal, a camera that roams), of SYSU-MM01 and LLCM
(visible and near-infrared, fixed cameras), and of a user's own pictures with a CSV file.

What carries identity
    To all sensors: the person's geometry. Build, hair outline, garment cut (sleeves, trousers,
    shorts, skirt, open jacket, coat, zip), the geometry of the patterns on the garments, and what
    is carried on which side. Dozens of bits, all coarse enough to survive 64x32 pixels.
    In visible images only: the colours of clothes, hair and skin, the same in every frame.
    In thermal images only: the surface temperatures, the same in every frame up to sensor drift.
    In near-infrared images only: the reflectance of cloth, hair and skin, the same in every frame.
    Colours, temperatures, reflectances and geometry are drawn independently of each other. A
    pattern shows to all sensors, but which of its two tones is the brighter one, and by how much,
    is drawn per person and per sensor.

What makes it hard
    Nothing about intensity can be carried from one sensor to the other, so a comparison has to be
    made on edges and layout. Between frames the walking pose, viewing angle, side seen (mostly the
    same one for a person, sometimes the other), scale, position, background, light, blur, noise and
    occasional occlusion change, so comparing pixels is weak within a sensor and useless across.
    Fixed cameras add what makes cameras differ: each has its own scenery (shared by cameras at one
    place), zoom, tilt, colour cast, gain, softness and noise, the same for all people. Indoors light
    is dim, warm and steady before plain walls; outdoors it changes with the weather, and the sun
    casts hard shadows; some of LLCM's cameras see little light at all. The infrared lamp lights what
    is near and in the middle. A person passes only some of the cameras, once each, so that the
    pictures of one camera are more alike than their number suggests.
"""
