"""Who is in the picture: geometry seen by both sensors, and a look for each sensor alone."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from tsme.synthetic.people.pattern import (
    LOWER_KINDS,
    OUTER_KINDS,
    UPPER_KINDS,
    Pattern,
    choose,
    draw_pattern,
)

Modality: TypeAlias = Literal["visible", "thermal", "nir"]
Facing: TypeAlias = Literal["front", "back"]
Gender: TypeAlias = Literal["male", "female"]
Hair: TypeAlias = Literal["short", "long", "bun", "ponytail", "afro", "bald", "cap", "hat", "hood"]
Outer: TypeAlias = Literal["none", "zip", "open", "vest", "coat"]
Lower: TypeAlias = Literal["trousers", "capri", "shorts", "skirt", "long_skirt"]
Sleeve: TypeAlias = Literal["same", "plain", "accent"]
Carried: TypeAlias = Literal["none", "backpack", "shoulder_bag", "handbag", "trolley"]
Tone: TypeAlias = tuple[float, ...]

HAIR: Mapping[Gender, Mapping[Hair, float]] = {
    "male": {"short": 4, "bald": 1, "afro": 1, "cap": 2, "hat": 1.5, "hood": 1.5, "long": 0.5},
    "female": {"short": 1, "long": 3, "bun": 2, "ponytail": 2, "afro": 1, "hat": 1.5, "cap": 1},
}
OUTER: Mapping[Outer, float] = {"none": 4, "zip": 1.5, "open": 2, "vest": 1.5, "coat": 1.5}
LOWER: Mapping[Gender, Mapping[Lower, float]] = {
    "male": {"trousers": 3, "capri": 1, "shorts": 2},
    "female": {"trousers": 2, "capri": 1, "shorts": 1, "skirt": 2, "long_skirt": 1.5},
}
SLEEVES: Mapping[Sleeve, float] = {"same": 2, "plain": 1, "accent": 1}
CARRIED: Mapping[Carried, float] = {
    "none": 2.5, "backpack": 2, "shoulder_bag": 2.5, "handbag": 1.5, "trolley": 1,
}  # fmt: skip

# A part of the figure, and the parts its brightness (or temperature) is kept apart from.
APART: Mapping[str, tuple[str, ...]] = {
    "upper": (),
    "upper_accent": ("upper",),
    "outer": ("upper",),
    "outer_accent": ("outer",),
    "lower": (),
    "lower_accent": ("lower",),
    "bag": ("upper", "outer"),
    "trim": ("upper",),
    "shoes": (),
    "hat": (),
}


@dataclass(frozen=True)
class Body:
    """Build, in fractions of the body height unless said otherwise."""

    height: float  # of the picture, before the frame's own scale
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
    outer_gap: float  # half width of the opening, of the shoulder's half width
    lower: Lower
    fit: float  # width of the legs, relative to the limb
    boot: float  # height of the shoes, of the leg
    upper_pattern: Pattern
    lower_pattern: Pattern
    outer_pattern: Pattern


@dataclass(frozen=True)
class Person:
    """One identity. `looks` gives each part's tone in 0..1, for each sensor.

    A tone is (r, g, b) in visible light, (temperature,) thermal, (reflectance,) in near infrared.
    `facing` is the side mostly seen, and `side` (1 the person's own left, -1 right) where things are
    carried.
    """

    gender: Gender
    body: Body
    hair: Hair
    clothes: Clothes
    carried: Carried
    side: int
    bag_size: float
    facing: Facing
    looks: Mapping[Modality, Mapping[str, Tone]]


def draw_person(rng: np.random.Generator) -> Person:
    """A person whose geometry and looks to each sensor are drawn independently."""
    geometry, visible, thermal, nir = rng.spawn(4)
    gender: Gender = "female" if geometry.random() < 0.5 else "male"
    return Person(
        gender=gender,
        body=_draw_body(geometry, gender),
        hair=choose(geometry, HAIR[gender]),
        clothes=_draw_clothes(geometry, gender),
        carried=choose(geometry, CARRIED),
        side=int(geometry.choice([-1, 1])),
        bag_size=float(geometry.uniform(0.8, 1.3)),
        facing="front" if geometry.random() < 0.5 else "back",
        looks={
            "visible": _draw_colours(visible),
            "thermal": _draw_temperatures(thermal),
            "nir": _draw_reflectances(nir),
        },
    )


def _draw_body(rng: np.random.Generator, gender: Gender) -> Body:
    broad = 0.008 if gender == "male" else -0.004
    stout = float(rng.uniform(-1, 1))
    return Body(
        height=float(rng.uniform(0.84, 0.93)),
        shoulder=float(rng.uniform(0.108, 0.132)) + broad + 0.006 * stout,
        waist=float(rng.uniform(0.088, 0.096)) + 0.018 * stout,
        hip=float(rng.uniform(0.090, 0.104)) - broad / 2 + 0.014 * stout,
        leg=float(rng.uniform(0.47, 0.53)),
        head=float(rng.uniform(0.125, 0.15)),
        limb=float(rng.uniform(0.92, 1.08)) + 0.14 * stout,
    )


def _draw_clothes(rng: np.random.Generator, gender: Gender) -> Clothes:
    return Clothes(
        sleeve_length=float(rng.choice([0.12, 0.45, 1.0], p=[0.2, 0.4, 0.4])),
        sleeve=choose(rng, SLEEVES),
        hem=float(rng.uniform(0.92, 1.22)),
        outer=choose(rng, OUTER),
        outer_gap=float(rng.uniform(0.3, 0.6)),
        lower=choose(rng, LOWER[gender]),
        fit=float(rng.choice([1.08, 1.3, 1.6])),
        boot=float(rng.choice([0.1, 0.1, 0.25, 0.42])),
        upper_pattern=draw_pattern(rng, UPPER_KINDS),
        lower_pattern=draw_pattern(rng, LOWER_KINDS),
        outer_pattern=draw_pattern(rng, OUTER_KINDS),
    )


def _draw_levels(rng: np.random.Generator, low: float, high: float, gap: float) -> dict[str, float]:
    """A brightness per part in [low, high], mostly `gap` apart where APART asks for it."""
    levels: dict[str, float] = {}
    for part, others in APART.items():
        least = gap * (0.35 if rng.random() < 0.1 else 1.0)
        level = float(rng.uniform(low, high))
        for _ in range(30):  # two neighbours can rule the whole range out
            if all(abs(level - levels[other]) >= least for other in others):
                break
            level = float(rng.uniform(low, high))
        levels[part] = level
    return levels


def _draw_temperatures(rng: np.random.Generator) -> dict[str, Tone]:
    """Apparent temperature (with the emissivity folded in) of each part; the scene is about 0.2."""
    levels = _draw_levels(rng, 0.28, 0.86, 0.26)
    levels |= {
        "skin": float(rng.uniform(0.86, 0.98)),
        "hair": float(rng.uniform(0.45, 0.72)),
        "eyes": float(rng.uniform(0.75, 0.85)),
    }
    return {part: (level,) for part, level in levels.items()}


def _draw_reflectances(rng: np.random.Generator) -> dict[str, Tone]:
    """Near-infrared reflectance of each part: dyes let it through, so most cloth is pale, skin too."""
    levels = _draw_levels(rng, 0.16, 0.88, 0.24)
    levels |= {
        "skin": float(rng.uniform(0.6, 0.78)),
        "hair": float(rng.uniform(0.2, 0.5)),
        "eyes": float(rng.uniform(0.08, 0.2)),
    }
    return {part: (level,) for part, level in levels.items()}


def _draw_colours(rng: np.random.Generator) -> dict[str, Tone]:
    """An (r, g, b) colour for each part."""
    levels = _draw_levels(rng, 0.06, 0.92, 0.34)
    colours = {part: _colour(rng, level) for part, level in levels.items()}
    tan = float(rng.uniform(0.3, 1.0))
    brown = float(rng.uniform(0.0, 1.0)) ** 2
    colours["skin"] = (0.92 * tan, 0.74 * tan, 0.61 * tan)
    colours["hair"] = (0.08 + 0.72 * brown, 0.06 + 0.52 * brown, 0.05 + 0.22 * brown)
    colours["eyes"] = (0.1, 0.08, 0.08)
    return colours


def _colour(rng: np.random.Generator, luminance: float) -> Tone:
    """A colour of the given luminance and a random hue, one in five nearly grayscale."""
    saturation = rng.uniform(0.0, 0.15) if rng.random() < 0.2 else rng.uniform(0.35, 0.9)
    rgb = np.array(colorsys.hsv_to_rgb(float(rng.random()), float(saturation), 1.0))
    full = float(rgb @ np.array([0.299, 0.587, 0.114]))
    if luminance <= full:
        rgb = rgb * (luminance / full)
    else:
        rgb = 1 - (1 - rgb) * (1 - luminance) / max(1 - full, 1e-6)
    return float(rgb[0]), float(rgb[1]), float(rgb[2])
