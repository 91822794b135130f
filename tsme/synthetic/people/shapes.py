"""Shapes of a posed figure, the same for all sensors.

Body coordinates: x is lateral, positive towards the person's left; y runs from 0 (crown) to 1 (soles);
both in body heights. `Pose.to_image` maps them to the image, where x and y are in image heights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tsme.synthetic.people.pattern import Pattern
from tsme.synthetic.people.person import Facing, Person

Points = NDArray[np.float64]  # (n, 2)

SHOULDER_Y = 0.185
ANKLE_Y = 0.965


@dataclass(frozen=True)
class Pose:
    """Stance and position in one frame."""

    facing: Facing
    phase: float  # of the gait cycle, radians
    stride: float  # half the angle between the legs, radians
    swing: float  # angle between arms and body, radians
    yaw: float  # turn from the exact front or back view, radians
    tilt: float  # lean, radians
    scale: float  # body height, image heights
    x: float  # centre of the feet, image heights
    y: float  # soles, image heights

    @property
    def sign(self) -> int:
        """1 if the person's left is on the right of the image, else -1."""
        return 1 if self.facing == "front" else -1

    @cached_property
    def _turn(self) -> float:
        return float(self.sign * np.cos(self.yaw))

    @cached_property
    def _lean(self) -> float:
        return float(np.sin(self.tilt))

    def to_image(self, points: Points) -> Points:
        """Map body coordinates (n, 2) to image coordinates (n, 2)."""
        up = 1.0 - points[:, 1]
        placed = np.empty_like(points)
        placed[:, 0] = self.x + self.scale * (points[:, 0] * self._turn + self._lean * up)
        placed[:, 1] = self.y - self.scale * up
        return placed


@dataclass(frozen=True)
class Shape:
    """A polygon in image coordinates, filled with the tone of `part` and an optional pattern.

    Garment coordinates: v runs from 0 at `top` to `v_scale` at `bottom`; u runs across, 1 at
    `half_width`, and is then mapped to u_offset + u_scale * u.
    """

    part: str
    outline: Points
    top: Points  # (2,)
    bottom: Points  # (2,)
    half_width: float
    sign: int = 1
    pattern: Pattern | None = None
    u_offset: float = 0.0
    u_scale: float = 1.0
    v_scale: float = 1.0


class ShapeBuilder:
    """Makes shapes of one person in one pose from outlines in body coordinates."""

    def __init__(self, person: Person, pose: Pose) -> None:
        self.person, self.pose = person, pose
        self.body, self.clothes = person.body, person.clothes
        self.front = pose.facing == "front"
        self.hip_y = 1.0 - self.body.leg
        self.hem_y = SHOULDER_Y + self.clothes.hem * (self.hip_y + 0.02 - SHOULDER_Y)
        # A turn shifts what is on the front or back sideways, but not the outline.
        self.shift = -0.05 * float(np.sin(pose.yaw))

    def polygon(
        self, part: str, points: list[tuple[float, float]], pattern: Pattern | None = None
    ) -> Shape:
        """Return a polygon whose garment coordinates span its bounding box."""
        xs, ys = zip(*points, strict=True)
        left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
        middle = (left + right) / 2 + self.shift
        axis = self.pose.to_image(np.array([(middle, top), (middle, bottom)]))
        half = max((right - left) / 2, 1e-3) * self.pose.scale * float(np.cos(self.pose.yaw))
        outline = self.pose.to_image(np.array(points, dtype=float))
        return Shape(part, outline, axis[0], axis[1], half, self.pose.sign, pattern)

    def oval(self, part: str, x: float, y: float, rx: float, ry: float) -> Shape:
        """Return an ellipse with centre (x, y)."""
        angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        points = zip(x + rx * np.cos(angle), y + ry * np.sin(angle), strict=True)
        return self.polygon(part, [(float(a), float(b)) for a, b in points])

    def box(self, part: str, x: float, y: float, rx: float, ry: float) -> Shape:
        """Return a rectangle with centre (x, y) and cut corners."""
        cut = 0.3 * min(rx, ry)
        corner = [(rx, ry - cut), (rx - cut, ry), (cut - rx, ry), (-rx, ry - cut)]
        points = corner + [(-a, -b) for a, b in corner]
        return self.polygon(part, [(x + a, y + b) for a, b in points])

    def limb(
        self,
        part: str,
        joints: Points,
        widths: tuple[float, float, float],
        span: tuple[float, float] = (0.0, 1.0),
        pattern: Pattern | None = None,
        garment: tuple[float, float, float] = (0.0, 1.0, 1.0),
    ) -> Shape:
        """Return the part `span` (0..1) of a limb; `garment` is (u_offset, u_scale, v_scale)."""
        t = np.linspace(span[0], span[1], 5)
        knots = [0.0, 0.5, 1.0]
        x, y = np.interp(t, knots, joints[:, 0]), np.interp(t, knots, joints[:, 1])
        half = np.interp(t, knots, widths)
        along = joints[2] - joints[0]
        normal = np.array([along[1], -along[0]]) / np.hypot(along[0], along[1])
        middle = np.stack([x, y], axis=1)
        sides = half[:, None] * normal
        outline = self.pose.to_image(np.concatenate([middle + sides, (middle - sides)[::-1]]))
        axis = self.pose.to_image(middle[[0, -1]])
        width = float(half.max()) * self.pose.scale * float(np.cos(self.pose.yaw))
        return Shape(part, outline, axis[0], axis[1], width, self.pose.sign, pattern, *garment)
