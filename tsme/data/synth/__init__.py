"""A synthetic stand-in for RegDB: people in visible light and in thermal infrared, in its layout.

What carries identity
    In both sensors: the person's geometry. Build, hair outline, garment cut (sleeves, trousers,
    shorts, skirt, open jacket, coat, zip), the geometry of the patterns on the garments, and what
    is carried on which side. Dozens of bits, all coarse enough to survive 64x32 pixels.
    In visible images only: the colours of clothes, hair and skin, the same in every frame.
    In thermal images only: the surface temperatures, the same in every frame up to sensor drift.
    Colours, temperatures and geometry are drawn independently of each other. A pattern shows in
    both sensors, but which of its two tones is the brighter one, and by how much, is drawn per
    person and per sensor.

What makes it hard
    Nothing about intensity can be carried from one sensor to the other, so a comparison has to be
    made on edges and layout. Between frames the walking pose, viewing angle, side seen (mostly the
    same one for a person, sometimes the other), scale, position, background, light, blur, noise and
    occasional occlusion change, so comparing pixels is weak within a sensor and useless across.
"""

from tsme.data.synth.layout import generate_regdb

__all__ = ["generate_regdb"]
