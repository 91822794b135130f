"""Geometry of garment patterns, the same for all sensors.

Garment coordinates: u runs from -1 (the wearer's right edge) to 1 (left edge), v from 0 (top of
the garment) to 1 (its hem). The sleeves of an upper garment are at |u| > 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

PatternKind: TypeAlias = Literal[
    "plain", "hoops", "stripes", "checks", "band", "split", "halves", "yoke", "sash", "panel",
    "sides", "patch", "disc",
]  # fmt: skip

T = TypeVar("T", bound=str)

UPPER_PATTERN_WEIGHTS: Mapping[PatternKind, float] = {
    "plain": 1, "hoops": 3, "stripes": 2, "checks": 2, "band": 2, "split": 2, "halves": 1.5,
    "yoke": 1.5, "sash": 2, "panel": 1.5, "sides": 1.5, "patch": 2, "disc": 1,
}  # fmt: skip
LOWER_PATTERN_WEIGHTS: Mapping[PatternKind, float] = {
    "plain": 3, "hoops": 2, "checks": 1.5, "band": 2, "split": 2.5, "halves": 1.5, "sides": 2,
    "patch": 1,
}  # fmt: skip
OUTER_PATTERN_WEIGHTS: Mapping[PatternKind, float] = {
    "plain": 3, "hoops": 1.5, "band": 2, "split": 2, "yoke": 1.5, "patch": 1, "halves": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Pattern:
    """The region of a garment that has the accent tone.

    period, phase: of repeating patterns, in units of v (u for stripes); phase in [0, 1).
    duty: accent share of a period, or width of a single element.
    side: 1 for the wearer's left, -1 for the right. u, v: centre of a single element.
    """

    kind: PatternKind
    period: float
    phase: float
    duty: float
    side: int
    u: float
    v: float


def sample_weighted(rng: np.random.Generator, weights: Mapping[T, float]) -> T:
    """Sample a key of `weights` with probability proportional to its weight."""
    keys = list(weights)
    share = np.array([weights[key] for key in keys], dtype=float)
    return keys[int(rng.choice(len(keys), p=share / share.sum()))]


def sample_pattern(rng: np.random.Generator, weights: Mapping[PatternKind, float]) -> Pattern:
    """Sample a pattern; the shortest period is about four pixels of a 64x32 image."""
    return Pattern(
        kind=sample_weighted(rng, weights),
        period=float(rng.choice([0.24, 0.32, 0.42, 0.56])),
        phase=float(rng.random()),
        duty=float(rng.uniform(0.36, 0.64)),
        side=int(rng.choice([-1, 1])),
        u=float(rng.uniform(-0.5, 0.5)),
        v=float(rng.uniform(0.2, 0.75)),
    )


def accent_mask(pattern: Pattern, u: NDArray[np.float32], v: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return True where the accent tone applies; u, v and the result have the same shape."""
    p = pattern
    accent: NDArray[np.bool_] = np.zeros(u.shape, dtype=bool)
    if p.kind in ("hoops", "checks"):
        accent = (v / p.period + p.phase) % 1.0 < p.duty
    if p.kind in ("stripes", "checks"):
        accent = accent ^ ((u / (2.0 * p.period) + p.phase) % 1.0 < p.duty)
    match p.kind:
        case "band":
            accent = np.abs(v - p.v) < 0.24 * p.duty
        case "split":
            accent = v > 0.25 + 0.6 * p.v
        case "halves":
            accent = p.side * u > 0
        case "yoke":
            accent = v < 0.14 + 0.3 * p.duty
        case "sash":
            accent = np.abs(p.side * u - 3.2 * (v - 0.2 - 0.5 * p.v)) < 1.1 * p.duty
        case "panel":
            accent = np.abs(u) < 0.75 * p.duty
        case "sides":
            accent = np.abs(u) > 1.05 - 0.75 * p.duty
        case "patch":
            accent = (np.abs(u - p.u) < 0.75 * p.duty) & (np.abs(v - p.v) < 0.3 * p.duty)
        case "disc":
            accent = ((u - p.u) / 0.95) ** 2 + ((v - p.v) / 0.42) ** 2 < p.duty**2
        case "plain" | "hoops" | "stripes" | "checks":
            pass
    return accent
