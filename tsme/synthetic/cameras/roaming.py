"""A roaming camera, as in RegDB: every image has a new background and new light.

Images are float arrays (height, width, channels) in 0..1; visible images have three
channels, thermal images one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tsme.synthetic.cameras.lifelike_scene import thermal_scene, visible_scene
from tsme.synthetic.cameras.optics import (
    FloatImage,
    add_contact_shadow,
    blur,
    motion_blur,
    pixel_noise,
    sample_muted_colour,
    smooth_noise,
)
from tsme.synthetic.people.person import ToneModel
from tsme.synthetic.people.shapes import Pose, Shape

RoamingSensor: TypeAlias = Literal["visible", "thermal"]

EDGE_SHADING = {"visible": 0.28, "thermal": 0.1}  # darkening of rounded parts towards their edges


@dataclass(frozen=True)
class RoamingCamera:
    """A `View` of `render` without any constant property but its sensor.

    With lifelike tones, the scene of a moment is the same for both sensors.
    """

    sensor: RoamingSensor
    tone_model: ToneModel = "independent"
    zoom: float = 1.0
    roll: float = 0.0

    def background(self, rng: np.random.Generator, shape: tuple[int, int]) -> FloatImage:
        if self.tone_model == "lifelike":
            return (visible_scene if self.sensor == "visible" else thermal_scene)(rng, shape)
        return _visible_scene(rng, shape) if self.sensor == "visible" else _thermal_scene(rng, shape)

    def add_shadow(
        self, rng: np.random.Generator, image: FloatImage, pose: Pose, figure: Sequence[Shape]
    ) -> None:
        """Darken the ground around the feet in place, in visible light only."""
        if self.sensor == "visible":
            add_contact_shadow(image, pose, float(rng.uniform(-0.1, 0.1)), 0.45)

    def sample_shading(self, rng: np.random.Generator) -> tuple[float, float]:
        return EDGE_SHADING[self.sensor], float(rng.uniform(-0.5, 0.5))

    def sample_occluder(self, rng: np.random.Generator) -> FloatImage:
        if self.sensor == "visible":
            return sample_muted_colour(rng)
        return np.array([rng.uniform(0.08, 0.3)], dtype=np.float32)

    def expose(self, rng: np.random.Generator, image: FloatImage) -> FloatImage:
        if self.sensor == "visible":
            return _expose_visible(rng, image)
        if self.tone_model == "lifelike":
            return _expose_microbolometer(rng, image)
        return _expose_thermal(rng, image)


def _visible_scene(rng: np.random.Generator, shape: tuple[int, int]) -> FloatImage:
    """Return a wall or sky over the ground, with panels, poles, a light gradient and texture."""
    height, width = shape
    y, x = np.linspace(0, 1, height, dtype=np.float32), np.linspace(0, 1, width, dtype=np.float32)
    horizon = rng.uniform(0.5, 0.85)
    scene = np.empty((height, width, 3), dtype=np.float32)
    scene[:] = sample_muted_colour(rng)
    scene[y >= horizon] = sample_muted_colour(rng)
    for _ in range(rng.integers(1, 6)):
        left, top = rng.uniform(-0.3, 1.0), rng.uniform(-0.2, horizon)
        right = left + rng.uniform(0.05, 0.6)
        bottom = rng.choice([horizon, top + rng.uniform(0.05, 0.5)])
        scene[np.ix_((y > top) & (y < bottom), (x > left) & (x < right))] = sample_muted_colour(rng)
    for _ in range(rng.integers(0, 3)):
        middle, half = rng.uniform(0, 1), rng.uniform(0.01, 0.05)
        foot = rng.uniform(horizon, 1.0)
        scene[np.ix_(y < foot, np.abs(x - middle) < half)] = sample_muted_colour(rng)
    slope = rng.uniform(-0.35, 0.35) * (x - 0.5) + (rng.uniform(-0.3, 0.3) * (y - 0.5))[:, None]
    texture = 0.06 * smooth_noise(rng, shape, (12, 6)) + 0.03 * smooth_noise(rng, shape, (48, 24))
    lit: FloatImage = np.clip(scene * (1 + slope + texture)[..., None], 0, 1).astype(np.float32)
    return lit


def _thermal_scene(rng: np.random.Generator, shape: tuple[int, int]) -> FloatImage:
    """Return a cool, blurred background with a warmer or cooler ground and a few warm spots."""
    height, width = shape
    y, x = np.mgrid[0:1:height*1j, 0:1:width*1j].astype(np.float32)  # fmt: skip
    horizon = rng.uniform(0.5, 0.85)
    ground = 1 / (1 + np.exp(-(y - horizon) / 0.02))
    scene = rng.uniform(0.08, 0.2) + rng.uniform(-0.06, 0.1) * ground
    scene = scene + 0.025 * smooth_noise(rng, shape, (8, 4))
    for _ in range(rng.integers(0, 4)):
        centre = rng.uniform(-0.1, 1.1, 2)
        rx, ry = rng.uniform(0.08, 0.3), rng.uniform(0.04, 0.2)
        spot = np.exp(-(((x - centre[0]) / rx) ** 2) - ((y - centre[1]) / ry) ** 2)
        scene = scene + rng.uniform(0.04, 0.22) * spot
    if rng.random() < 0.4:
        middle, half = rng.uniform(0, 1), rng.uniform(0.02, 0.07)
        scene = scene + rng.uniform(-0.05, 0.14) * (np.abs(x - middle) < half)
    clipped: FloatImage = np.clip(scene, 0, 1).astype(np.float32)[..., None]
    return clipped


def _expose_visible(rng: np.random.Generator, image: FloatImage) -> FloatImage:
    gain, gamma = rng.uniform(0.7, 1.2), rng.uniform(0.8, 1.3)
    cast = 1 + rng.uniform(-0.06, 0.06, 3)
    lit: NDArray[np.floating] = np.clip(image * gain * cast, 0, 1) ** gamma
    if rng.random() < 0.3:
        lit = motion_blur(lit)
    blurred = blur(lit.astype(np.float32), float(rng.uniform(0.1, 0.9)))
    return blurred + pixel_noise(rng, image.shape, rng.uniform(0.008, 0.035))


def _expose_thermal(rng: np.random.Generator, image: FloatImage) -> FloatImage:
    """Apply low contrast, blur and a random gain and offset that keep warm brighter than cool."""
    gain, offset = rng.uniform(0.68, 1.0), rng.uniform(-0.03, 0.16)
    soft = blur(image, float(rng.uniform(0.6, 1.3))) ** rng.uniform(0.85, 1.2)
    drift = 0.02 * smooth_noise(rng, image.shape[:2], (4, 3))[..., None]
    columns = rng.normal(0, 0.008, (1, image.shape[1], 1))
    grain = pixel_noise(rng, image.shape, rng.uniform(0.008, 0.025))
    return np.repeat(gain * soft + offset + drift + columns + grain, 3, axis=2)


def _expose_microbolometer(rng: np.random.Generator, image: FloatImage) -> FloatImage:
    """Expose as a camera with automatic gain: the coldest and the warmest percent span its range.

    Known: uncooled microbolometers resolve about 50 mK, half a percent of the ten to fifteen kelvins
    between air and skin, and stretch what they see to their range of intensities. Guessed: how much the
    gain varies, and the drift and column noise that calibration leaves.
    """
    soft = blur(image, float(rng.uniform(0.4, 0.9)))
    low, high = np.percentile(soft, (1, 99))
    stretched = (soft - low) / max(float(high - low), 0.2)
    gain, offset = rng.uniform(0.85, 1.0), rng.uniform(0.0, 0.06)
    drift = 0.01 * smooth_noise(rng, image.shape[:2], (4, 3))[..., None]
    columns = rng.normal(0, 0.004, (1, image.shape[1], 1))
    grain = pixel_noise(rng, image.shape, rng.uniform(0.004, 0.01))
    exposed: FloatImage = np.clip(stretched, 0, 1) ** rng.uniform(0.9, 1.1) * gain + offset
    return np.repeat(exposed + drift + columns + grain, 3, axis=2).astype(np.float32)
