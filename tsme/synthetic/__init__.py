"""Synthetic data sets in the layouts of RegDB, SYSU-MM01, LLCM and a CSV table.

RegDB's layout has visible and thermal images from a roaming camera; the others have visible and
near-infrared images from fixed cameras.

What identifies a person
    For all sensors: geometry. Build, hair outline, garment cut (sleeves, trousers, shorts, skirt, open
    jacket, coat, zip), garment patterns, and the carried object with its side. Together dozens of bits,
    all coarse enough to survive at 64x32 pixels.
    For one sensor only, and constant over its images: the colours of clothes, hair and skin (visible),
    surface temperatures (thermal) or reflectances (near infrared). Colours, temperatures, reflectances
    and geometry are sampled independently of each other. Every sensor sees a pattern, but which of its
    two tones is brighter, and by how much, is sampled per identity and sensor.
    With lifelike tones (`people/lifelike.py`) infrared tones follow in part from the fabrics of the
    garments, which visible images show by their texture. Colours stay independent of everything else.

What makes it hard
    No intensity carries over from one sensor to another, so images must be matched by edges and their
    arrangement. Pose, viewing angle, visible side (usually the same for an identity), scale, position,
    background, light, blur, noise and occasional occlusion change between frames, so comparing pixels is
    weak within a sensor and useless between sensors.
    Each fixed camera has its own scenery (shared by cameras at one place), zoom, tilt, colour cast, gain,
    softness and noise. Indoor light is dim, warm and steady; outdoor light varies, and the sun casts hard
    shadows; some of LLCM's cameras are dark. The infrared lamp lights what is near and in the centre. An
    identity visits only some cameras, once each, so images of one camera are more alike than their number
    suggests.
"""
