"""The appearance of one synthetic identity: geometry common to all sensors, and tones for each sensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from tsme.synthetic.people.pattern import Pattern

Sensor: TypeAlias = Literal["visible", "thermal", "nir"]
Facing: TypeAlias = Literal["front", "back"]
Gender: TypeAlias = Literal["male", "female"]
Hair: TypeAlias = Literal["short", "long", "bun", "ponytail", "afro", "bald", "cap", "hat", "hood"]
Outer: TypeAlias = Literal["none", "zip", "open", "vest", "coat"]
Lower: TypeAlias = Literal["trousers", "capri", "shorts", "skirt", "long_skirt"]
Sleeve: TypeAlias = Literal["same", "plain", "accent"]
Carried: TypeAlias = Literal["none", "backpack", "shoulder_bag", "handbag", "trolley"]
Tone: TypeAlias = tuple[float, ...]
ToneModel: TypeAlias = Literal["independent", "lifelike"]  # of infrared tones: see tones.py, lifelike.py


@dataclass(frozen=True)
class Body:
    """Body shape, in fractions of the body height unless noted."""

    height: float  # fraction of the image height, before the scale of a frame
    shoulder: float  # half width
    waist: float  # half width
    hip: float  # half width
    leg: float  # length
    head: float  # height
    limb: float  # thickness, relative to the mean


@dataclass(frozen=True)
class Clothes:
    """Garment cut and patterns. Lengths are fractions of the limb; `hem` of the torso."""

    sleeve_length: float
    sleeve: Sleeve
    hem: float
    outer: Outer
    outer_gap: float  # half width of the opening, in half shoulder widths
    lower: Lower
    fit: float  # width of the trouser legs, relative to the limb
    boot: float  # height of the shoes, fraction of the leg
    upper_pattern: Pattern
    lower_pattern: Pattern
    outer_pattern: Pattern


class Texture(NamedTuple):
    """Visible properties of a fabric other than colour, as fractions of its brightness unless noted."""

    folds: float
    weave: float = 0.0  # fine structure
    sheen: float = 0.0  # highlight, absolute
    seams: float = 0.0  # darkening at the seams of quilting


@dataclass(frozen=True)
class Person:
    """One identity. `tones` holds the tone of each body part for each sensor, in 0..1.

    A tone is (r, g, b) in visible light, (temperature,) thermal, (reflectance,) in near infrared.
    `facing` is the side usually seen; `side` is where a bag is carried (1 the person's left, -1 right).
    """

    gender: Gender
    body: Body
    hair: Hair
    clothes: Clothes
    carried: Carried
    side: int
    bag_size: float
    facing: Facing
    tones: Mapping[Sensor, Mapping[str, Tone]]
    textures: Mapping[str, Texture] = field(default_factory=dict)  # lifelike tones only
    glasses: bool = False
