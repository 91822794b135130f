"""How much two images of one identity differ within a sensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

Difficulty: TypeAlias = Literal["easy", "normal", "hard"]


class FrameVariation(NamedTuple):
    """Differences between the frames of one identity.

    `other_side_rate` is the share of frames that show the less usual side (front or back), and
    `occlusion_rate` the share with an object in front of the body. `pose_scale` multiplies the ranges of
    stance, turn and position.
    """

    other_side_rate: float
    occlusion_rate: float
    pose_scale: float


VARIATIONS: Mapping[Difficulty, FrameVariation] = {
    "easy": FrameVariation(other_side_rate=0.0, occlusion_rate=0.0, pose_scale=0.4),
    "normal": FrameVariation(other_side_rate=0.1, occlusion_rate=0.1, pose_scale=1.0),
    "hard": FrameVariation(other_side_rate=0.35, occlusion_rate=0.3, pose_scale=1.6),
}
