"""Lifelike tones: the fabric of a garment determines its visible texture and limits its infrared tone.

Known: the surface temperature of clothing follows from thermal resistances in series, from skin through
cloth to air: t = air + (skin - air) * R_air / (R_air + R_cloth), with R_air about 0.7 clo in still air
(ISO 9920). So a thin shirt is nearly as warm as skin and a dense coat nearly as cool as the air, and
loose cloth holds a layer of air. Hair insulates. Glass is opaque to thermal cameras and shows about the
temperature of the air. Skin reflects about 0.5 to 0.65 at 850 nm, with little influence of its colour
(Cooksey and Allen, Proc. SPIE 8734, 2013). Dark hair is brighter there than in visible light.
Guessed: the insulation of hair and loose fits, the temperature of glasses, how often a pattern is
printed, dyed or made of a second fabric, and the share of identities with glasses.

Colours are sampled as for independent tones, without regard to the fabric, so that colour says nothing
about infrared tones. Real jeans are mostly blue and real coats mostly dark; here they are not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tsme.synthetic.people.fabrics import (
    BAG_FABRICS,
    CAP_FABRICS,
    FABRICS,
    HAT_FABRICS,
    HOOD_FABRICS,
    LONG_SLEEVED,
    LOWER_FABRICS,
    OUTER_FABRICS,
    PRINT_FABRICS,
    SHOE_FABRICS,
    SHORT_SLEEVED,
    ZIPPED,
    FabricName,
    Weights,
)
from tsme.synthetic.people.pattern import PatternKind, sample_weighted
from tsme.synthetic.people.person import Clothes, Hair, Texture, Tone

AIR_TEMPERATURE = 0.16  # on the scale of thermal tones, where skin is about 0.9
AIR_RESISTANCE = 0.7  # clo
CARBON_BLACK_REFLECTANCE = (0.06, 0.16)
GLASSES_RATE = 0.3
PRINTED_PATTERNS: tuple[PatternKind, ...] = ("band", "sash", "patch", "disc")
REPEATING_PATTERNS: tuple[PatternKind, ...] = ("hoops", "stripes", "checks")
DYED_RATE = 0.1  # share of repeating patterns that differ in dye alone, so not in temperature


class Piece(NamedTuple):
    """The fabric of one part, its insulation with what is worn below (clo), and its reflectance."""

    fabric: FabricName
    insulation: float
    reflectance: float


class LifelikeTones(NamedTuple):
    """Infrared tones and textures of one person's parts."""

    thermal: dict[str, Tone]
    nir: dict[str, Tone]
    textures: dict[str, Texture]
    glasses: bool


def sample_lifelike_tones(rng: np.random.Generator, clothes: Clothes, hair: Hair) -> LifelikeTones:
    """Sample fabrics for these clothes, and infrared tones for the fabrics and the body."""
    glasses = bool(rng.random() < GLASSES_RATE)
    pieces = _sample_pieces(rng, clothes, hair)
    skin = float(rng.uniform(0.86, 0.96))
    thermal: dict[str, float] = {
        part: _surface_temperature(skin, piece.insulation, FABRICS[piece.fabric].emissivity)
        for part, piece in pieces.items()
    }
    thermal |= {
        "skin": skin,
        "hair": _surface_temperature(skin, float(rng.uniform(0.35, 0.7))),
        "eyes": skin - 0.08,
        "glasses": AIR_TEMPERATURE + float(rng.uniform(0.1, 0.2)),
    }
    nir = {part: piece.reflectance for part, piece in pieces.items()}
    nir |= {
        "skin": float(rng.uniform(0.52, 0.66)),
        "hair": float(rng.uniform(0.15, 0.38)),
        "eyes": float(rng.uniform(0.08, 0.2)),
        "glasses": float(rng.uniform(0.25, 0.45)),
    }
    return LifelikeTones(
        thermal={part: (level,) for part, level in thermal.items()},
        nir={part: (level,) for part, level in nir.items()},
        textures={part: FABRICS[piece.fabric].texture for part, piece in pieces.items()},
        glasses=glasses,
    )


def _surface_temperature(skin: float, insulation: float, emissivity: float = 1.0) -> float:
    """Return the apparent temperature of cloth over skin, including the reflected air temperature."""
    surface = AIR_TEMPERATURE + (skin - AIR_TEMPERATURE) * AIR_RESISTANCE / (AIR_RESISTANCE + insulation)
    return emissivity * surface + (1 - emissivity) * AIR_TEMPERATURE


def _sample_pieces(rng: np.random.Generator, clothes: Clothes, hair: Hair) -> dict[str, Piece]:
    long_sleeved = LONG_SLEEVED if clothes.sleeve_length == 1.0 else SHORT_SLEEVED
    headwear = {"hat": HAT_FABRICS, "hood": HOOD_FABRICS}.get(hair, CAP_FABRICS)
    loose = 0.4 * (clothes.fit - 1.08)
    pieces: dict[str, Piece] = {}

    def add(part: str, weights: Weights, layer: float = 0.0) -> None:
        pieces[part] = _sample_piece(rng, weights, layer)

    def add_patterned(part: str, weights: Weights, kind: PatternKind, layer: float = 0.0) -> None:
        add(part, weights, layer)
        pieces[f"{part}_accent"] = _sample_accent(rng, pieces[part], weights, kind, layer)

    upper = ZIPPED if clothes.outer == "zip" else long_sleeved
    add_patterned("upper", upper, clothes.upper_pattern.kind)
    below = pieces["upper"].insulation
    add_patterned("outer", OUTER_FABRICS[clothes.outer], clothes.outer_pattern.kind, below)
    add_patterned("lower", LOWER_FABRICS[clothes.lower], clothes.lower_pattern.kind, loose)
    add("trim", {"softshell": 1}, below)
    add("bag", BAG_FABRICS, 2.0)  # carried outside of all clothes
    add("shoes", SHOE_FABRICS, 0.4)
    add("hat", headwear)
    return pieces


def _sample_piece(rng: np.random.Generator, weights: Weights, layer: float) -> Piece:
    name = sample_weighted(rng, weights)
    fabric = FABRICS[name]
    dark = rng.random() < fabric.carbon_black
    low, high = CARBON_BLACK_REFLECTANCE if dark else fabric.reflectance
    insulation = layer + float(rng.uniform(*fabric.insulation))
    return Piece(name, insulation, float(rng.uniform(low, high)))


def _sample_accent(
    rng: np.random.Generator, base: Piece, weights: Weights, kind: PatternKind, layer: float
) -> Piece:
    """Sample the accent of a pattern: a print on the fabric, another dye or another fabric."""
    if kind in PRINTED_PATTERNS:
        return _sample_piece(rng, PRINT_FABRICS, base.insulation)
    if kind in REPEATING_PATTERNS and rng.random() < DYED_RATE:
        return base._replace(reflectance=base.reflectance + float(rng.choice([-0.12, 0.12])))
    others = {name: weight for name, weight in {**LONG_SLEEVED, **weights}.items() if name != base.fabric}
    return _sample_piece(rng, others, layer)
