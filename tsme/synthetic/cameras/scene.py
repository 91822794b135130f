"""A camera that roams, as in RegDB: new surroundings and light for every picture.

Pictures here are float arrays (height, width, channels) in 0..1; visible has three channels, infrared
ones one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tsme.synthetic.cameras.optics import Picture, blur, ground_shadow, muted, noise, smear, smooth_noise
from tsme.synthetic.people.sketch import Pose, Shape

ROUNDNESS = {"visible": 0.28, "thermal": 0.1}  # how much rounded parts fade towards their edges


@dataclass(frozen=True)
class Anywhere:
    """What a roaming camera sees around a person."""

    modality: Literal["visible", "thermal"]
    zoom: float = 1.0
    roll: float = 0.0

    def background(self, rng: np.random.Generator, shape: tuple[int, int]) -> Picture:
        """A scene without the person."""
        return _street(rng, shape) if self.modality == "visible" else _cool_scene(rng, shape)

    def shadow(
        self, rng: np.random.Generator, picture: Picture, pose: Pose, figure: Sequence[Shape]
    ) -> None:
        """Darken the ground about the feet, in place; warmth casts no shadow."""
        if self.modality == "visible":
            ground_shadow(picture, pose, float(rng.uniform(-0.1, 0.1)), 0.45)

    def light(self, rng: np.random.Generator) -> tuple[float, float]:
        """How much rounded parts fade towards their edges, and where on them the light falls."""
        return ROUNDNESS[self.modality], float(rng.uniform(-0.5, 0.5))

    def occluder(self, rng: np.random.Generator) -> Picture:
        """The tone of something in front of the person."""
        if self.modality == "visible":
            return muted(rng)
        return np.array([rng.uniform(0.08, 0.3)], dtype=np.float32)

    def expose(self, rng: np.random.Generator, picture: Picture) -> Picture:
        """The sensor: light or gain, blur and noise; three channels, not yet clipped."""
        return _camera(rng, picture) if self.modality == "visible" else _thermal_camera(rng, picture)


def _street(rng: np.random.Generator, shape: tuple[int, int]) -> Picture:
    """A wall or sky over the ground, with panels, poles, light gradient and texture."""
    height, width = shape
    y, x = np.linspace(0, 1, height, dtype=np.float32), np.linspace(0, 1, width, dtype=np.float32)
    horizon = rng.uniform(0.5, 0.85)
    scene = np.empty((height, width, 3), dtype=np.float32)
    scene[:] = muted(rng)
    scene[y >= horizon] = muted(rng)
    for _ in range(rng.integers(1, 6)):
        left, top = rng.uniform(-0.3, 1.0), rng.uniform(-0.2, horizon)
        right = left + rng.uniform(0.05, 0.6)
        bottom = rng.choice([horizon, top + rng.uniform(0.05, 0.5)])
        scene[np.ix_((y > top) & (y < bottom), (x > left) & (x < right))] = muted(rng)
    for _ in range(rng.integers(0, 3)):
        middle, half = rng.uniform(0, 1), rng.uniform(0.01, 0.05)
        foot = rng.uniform(horizon, 1.0)
        scene[np.ix_(y < foot, np.abs(x - middle) < half)] = muted(rng)
    slope = rng.uniform(-0.35, 0.35) * (x - 0.5) + (rng.uniform(-0.3, 0.3) * (y - 0.5))[:, None]
    texture = 0.06 * smooth_noise(rng, shape, (12, 6)) + 0.03 * smooth_noise(rng, shape, (48, 24))
    lit: Picture = np.clip(scene * (1 + slope + texture)[..., None], 0, 1).astype(np.float32)
    return lit


def _cool_scene(rng: np.random.Generator, shape: tuple[int, int]) -> Picture:
    """Cool and blurry, a warmer or cooler ground, and a few warm blobs."""
    height, width = shape
    y, x = np.mgrid[0:1:height*1j, 0:1:width*1j].astype(np.float32)  # fmt: skip
    horizon = rng.uniform(0.5, 0.85)
    ground = 1 / (1 + np.exp(-(y - horizon) / 0.02))
    scene = rng.uniform(0.08, 0.2) + rng.uniform(-0.06, 0.1) * ground
    scene = scene + 0.025 * smooth_noise(rng, shape, (8, 4))
    for _ in range(rng.integers(0, 4)):
        centre = rng.uniform(-0.1, 1.1, 2)
        rx, ry = rng.uniform(0.08, 0.3), rng.uniform(0.04, 0.2)
        blob = np.exp(-(((x - centre[0]) / rx) ** 2) - ((y - centre[1]) / ry) ** 2)
        scene = scene + rng.uniform(0.04, 0.22) * blob
    if rng.random() < 0.4:
        middle, half = rng.uniform(0, 1), rng.uniform(0.02, 0.07)
        scene = scene + rng.uniform(-0.05, 0.14) * (np.abs(x - middle) < half)
    picture: Picture = np.clip(scene, 0, 1).astype(np.float32)[..., None]
    return picture


def _camera(rng: np.random.Generator, picture: Picture) -> Picture:
    gain, gamma = rng.uniform(0.7, 1.2), rng.uniform(0.8, 1.3)
    cast = 1 + rng.uniform(-0.06, 0.06, 3)
    lit: NDArray[np.floating] = np.clip(picture * gain * cast, 0, 1) ** gamma
    if rng.random() < 0.3:
        lit = smear(lit)
    blurred = blur(lit.astype(np.float32), float(rng.uniform(0.1, 0.9)))
    return blurred + noise(rng, picture.shape, rng.uniform(0.008, 0.035))


def _thermal_camera(rng: np.random.Generator, picture: Picture) -> Picture:
    """Low contrast and soft; the automatic gain drifts but never swaps warm and cool."""
    gain, offset = rng.uniform(0.68, 1.0), rng.uniform(-0.03, 0.16)
    soft = blur(picture, float(rng.uniform(0.6, 1.3))) ** rng.uniform(0.85, 1.2)
    drift = 0.02 * smooth_noise(rng, picture.shape[:2], (4, 3))[..., None]
    columns = rng.normal(0, 0.008, (1, picture.shape[1], 1))
    grain = noise(rng, picture.shape, rng.uniform(0.008, 0.025))
    return np.repeat(gain * soft + offset + drift + columns + grain, 3, axis=2)
