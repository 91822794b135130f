"""How much differs between two pictures of one person, besides the sensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

Level: TypeAlias = Literal["easy", "normal", "hard"]


class Difficulty(NamedTuple):
    """Shares of frames that show a person's less usual side, or something in front of them.

    `sway` widens the range of stances, turns and places, 1 being normal.
    """

    other_side: float
    occluded: float
    sway: float


LEVELS: Mapping[Level, Difficulty] = {
    "easy": Difficulty(other_side=0.0, occluded=0.0, sway=0.4),
    "normal": Difficulty(other_side=0.1, occluded=0.1, sway=1.0),
    "hard": Difficulty(other_side=0.35, occluded=0.3, sway=1.6),
}
