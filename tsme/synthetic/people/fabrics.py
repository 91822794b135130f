"""Fabrics: texture in visible light, insulation and near-infrared reflectance.

Known: the insulation of garments in clo has the order of magnitude of ISO 9920's tables; textiles emit
nearly like black bodies in the thermal infrared, and metal coatings reflect; in near infrared most dyes
are transparent, so cloth is bright whatever its colour, unless it is pigmented with carbon black.
Guessed: the exact ranges, how often a garment is made of which fabric, and the strength of folds, weave,
sheen and seams in images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from tsme.synthetic.people.person import Lower, Outer, Texture

FabricName: TypeAlias = Literal[
    "jersey", "woven", "denim", "knit", "fleece", "softshell", "wool", "down", "leather", "canvas",
    "print", "foil",
]  # fmt: skip
Weights: TypeAlias = Mapping[FabricName, float]


class Fabric(NamedTuple):
    """Ranges of insulation (clo) and near-infrared reflectance, and what all garments of it share."""

    insulation: tuple[float, float]
    reflectance: tuple[float, float]
    texture: Texture
    emissivity: float = 0.95
    carbon_black: float = 0.0  # share of garments that are dark in near infrared


FABRICS: Mapping[FabricName, Fabric] = {
    "jersey": Fabric((0.08, 0.2), (0.5, 0.8), Texture(folds=0.05)),
    "woven": Fabric((0.15, 0.3), (0.45, 0.8), Texture(folds=0.12)),
    "denim": Fabric((0.28, 0.42), (0.4, 0.7), Texture(folds=0.07, weave=0.09)),
    "knit": Fabric((0.4, 0.6), (0.45, 0.75), Texture(folds=0.04, weave=0.18)),
    "fleece": Fabric((0.55, 0.8), (0.5, 0.8), Texture(folds=0.03, weave=0.14), carbon_black=0.1),
    "softshell": Fabric((0.4, 0.6), (0.4, 0.85), Texture(folds=0.1, sheen=0.14), carbon_black=0.25),
    "wool": Fabric((0.9, 1.4), (0.35, 0.6), Texture(folds=0.03, weave=0.14)),
    "down": Fabric(
        (1.6, 2.6), (0.5, 0.85), Texture(folds=0.05, sheen=0.16, seams=0.3), carbon_black=0.15
    ),
    "leather": Fabric((0.4, 0.65), (0.3, 0.6), Texture(folds=0.13, sheen=0.3)),
    "canvas": Fabric((0.8, 1.2), (0.35, 0.7), Texture(folds=0.02, weave=0.1), carbon_black=0.2),
    "print": Fabric((0.3, 0.9), (0.1, 0.5), Texture(folds=0.02, sheen=0.06), emissivity=0.9),
    "foil": Fabric((0.1, 0.2), (0.7, 0.95), Texture(folds=0.03, sheen=0.4), emissivity=0.45),
}

SHORT_SLEEVED: Weights = {"jersey": 4, "woven": 2, "softshell": 0.5}
LONG_SLEEVED: Weights = {"jersey": 2, "woven": 2, "knit": 2.5, "fleece": 1.5}
ZIPPED: Weights = {"softshell": 2, "fleece": 2, "leather": 1.5, "down": 1}
OUTER_FABRICS: Mapping[Outer, Weights] = {
    "none": {"softshell": 1},
    "zip": {"softshell": 1},
    "open": {"denim": 1.5, "leather": 1.5, "fleece": 1, "softshell": 1.5, "knit": 1},
    "vest": {"down": 2, "knit": 1, "softshell": 1},
    "coat": {"wool": 2, "down": 2, "softshell": 0.7},
}
LOWER_FABRICS: Mapping[Lower, Weights] = {
    "trousers": {"denim": 3, "woven": 2, "jersey": 1, "leather": 0.6},
    "capri": {"denim": 1, "woven": 1, "jersey": 1},
    "shorts": {"denim": 1, "woven": 1.5, "jersey": 1.5},
    "skirt": {"denim": 1, "woven": 2, "knit": 1, "leather": 0.8},
    "long_skirt": {"woven": 2, "jersey": 1, "knit": 1},
}
CAP_FABRICS: Weights = {"woven": 1}
HAT_FABRICS: Weights = {"wool": 1, "canvas": 1}
HOOD_FABRICS: Weights = {"fleece": 1, "knit": 1}
BAG_FABRICS: Weights = {"canvas": 1, "leather": 1, "softshell": 1}
SHOE_FABRICS: Weights = {"leather": 1, "canvas": 1}
PRINT_FABRICS: Weights = {"print": 3, "foil": 1}
