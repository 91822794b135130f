"""Shapes: what a posed figure is made of, the same for both sensors.

Body coordinates: x is lateral, positive towards the person's own left; y runs from 0 (crown) to 1
(soles); both in units of the body height. `Pose.place` maps them to the picture, where x and y are
in units of the picture height.
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
    """One frame's stance and camera."""

    facing: Facing
    phase: float  # of the walk, radians
    stride: float  # half the angle between the legs, radians
    swing: float  # how far the arms stand off the body, radians
    yaw: float  # turn away from the exact front or back, radians
    tilt: float  # lean, radians
    scale: float  # body height, of the picture height
    x: float  # of the feet's middle, of the picture height
    y: float  # of the soles

    @property
    def sign(self) -> int:
        """1 if the person's left is at the picture's right, else -1."""
        return 1 if self.facing == "front" else -1

    @cached_property
    def _turn(self) -> float:
        return float(self.sign * np.cos(self.yaw))

    @cached_property
    def _lean(self) -> float:
        return float(np.sin(self.tilt))

    def place(self, points: Points) -> Points:
        """Body coordinates (n, 2) to picture coordinates (n, 2)."""
        up = 1.0 - points[:, 1]
        placed = np.empty_like(points)
        placed[:, 0] = self.x + self.scale * (points[:, 0] * self._turn + self._lean * up)
        placed[:, 1] = self.y - self.scale * up
        return placed


@dataclass(frozen=True)
class Shape:
    """An outline in picture coordinates filled with a part's tone and, maybe, a pattern.

    The garment frame: v runs along `top`->`bottom` times `v_scale`; u across it, 1 at `half_width`,
    is then mapped to u_offset + u_scale * u.
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


class Sketch:
    """Makes shapes of one person in one pose, from outlines in body coordinates."""

    def __init__(self, person: Person, pose: Pose) -> None:
        """Work out what several shapes share."""
        self.person, self.pose = person, pose
        self.body, self.clothes = person.body, person.clothes
        self.front = pose.facing == "front"
        self.hip_y = 1.0 - self.body.leg
        self.hem_y = SHOULDER_Y + self.clothes.hem * (self.hip_y + 0.02 - SHOULDER_Y)
        # What is on the front or back shifts with the turn; what is on the outline does not.
        self.shift = -0.05 * float(np.sin(pose.yaw))

    def polygon(
        self, part: str, points: list[tuple[float, float]], pattern: Pattern | None = None
    ) -> Shape:
        """A polygon about the body's axis; its garment frame is its own bounding box."""
        xs, ys = zip(*points, strict=True)
        left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
        middle = (left + right) / 2 + self.shift
        axis = self.pose.place(np.array([(middle, top), (middle, bottom)]))
        half = max((right - left) / 2, 1e-3) * self.pose.scale * float(np.cos(self.pose.yaw))
        outline = self.pose.place(np.array(points, dtype=float))
        return Shape(part, outline, axis[0], axis[1], half, self.pose.sign, pattern)

    def oval(self, part: str, x: float, y: float, rx: float, ry: float) -> Shape:
        """An ellipse about (x, y)."""
        angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        points = zip(x + rx * np.cos(angle), y + ry * np.sin(angle), strict=True)
        return self.polygon(part, [(float(a), float(b)) for a, b in points])

    def box(self, part: str, x: float, y: float, rx: float, ry: float) -> Shape:
        """A rectangle about (x, y) with cut corners."""
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
        """The stretch `span` of a limb of three joints; `garment`: (u_offset, u_scale, v_scale)."""
        t = np.linspace(span[0], span[1], 5)
        knots = [0.0, 0.5, 1.0]
        x, y = np.interp(t, knots, joints[:, 0]), np.interp(t, knots, joints[:, 1])
        half = np.interp(t, knots, widths)
        along = joints[2] - joints[0]
        normal = np.array([along[1], -along[0]]) / np.hypot(along[0], along[1])
        middle = np.stack([x, y], axis=1)
        sides = half[:, None] * normal
        outline = self.pose.place(np.concatenate([middle + sides, (middle - sides)[::-1]]))
        axis = self.pose.place(middle[[0, -1]])
        width = float(half.max()) * self.pose.scale * float(np.cos(self.pose.yaw))
        return Shape(part, outline, axis[0], axis[1], width, self.pose.sign, pattern, *garment)
