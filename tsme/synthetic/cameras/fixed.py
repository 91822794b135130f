"""Fixed cameras, as in SYSU-MM01 and LLCM.

Three levels of variation: a camera keeps its place, zoom, colour cast, gain and noise; one visit fixes
the weather and the visible part of the scenery; position and small changes of light differ per image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tsme.synthetic.cameras.optics import (
    FloatImage,
    add_contact_shadow,
    blur,
    motion_blur,
    pixel_noise,
    smooth_noise,
)
from tsme.synthetic.cameras.scenery import HEIGHT, WIDTH, FixedSensor, Place, Setting, panorama
from tsme.synthetic.people.shapes import Pose, Shape

PLACE_STREAM = 0x9ACE  # separates the random streams of places and cameras from those of identities
SUNNY_RATE = 0.65  # share of visits in sunshine, outdoors and by day
CLOUDY_LIGHT = (0.97, 1.0, 1.05)  # relative r, g, b
SUNLIGHT = (1.06, 1.0, 0.92)


@dataclass(frozen=True)
class FixedCamera:
    """The constant properties of a camera. `gain` 1 keeps the brightness of the scene."""

    number: int
    sensor: FixedSensor
    place: Place
    zoom: float
    roll: float  # radians
    gain: float
    gamma: float
    cast: tuple[float, float, float]  # factors of r, g, b
    softness: float  # blur radius of the lens, pixels
    grain: float  # standard deviation of the noise
    light_side: float  # position of the sun or the infrared lamp: -1 left to 1 right
    sunny_rate: float  # share of visits in sunshine

    @property
    def outdoor(self) -> bool:
        return self.place.setting == "outdoor"

    def visit(self, rng: np.random.Generator) -> CameraVisit:
        """Sample the conditions of one identity's visit."""
        sunny = rng.random() < self.sunny_rate
        vary = 0.22 if self.outdoor else 0.04
        return CameraVisit(
            camera=self,
            start=float(rng.uniform(0, WIDTH - 1.2)),
            sun=float(rng.uniform(0.6, 1.0)) if sunny else 0.0,
            gain=self.gain * float(rng.uniform(1 - vary, 1 + vary)) * (1.12 if sunny else 1.0),
            shade=float(rng.uniform(-1, 1)) if sunny and rng.random() < 0.5 else None,
        )


class CameraSpec(NamedTuple):
    """What a layout fixes about a camera. Cameras with the same `place` show the same scenery.

    At a `low_light` place visible images are dark; infrared cameras have their own lamp.
    """

    number: int
    sensor: FixedSensor
    place: int
    setting: Setting
    low_light: bool = False


def make_camera(seed: int, spec: CameraSpec) -> FixedCamera:
    """Sample the camera's remaining properties from the data set's seed and the camera's number."""
    number, sensor, place, setting, low_light = spec
    stream = 2 if sensor == "visible" else 3
    rng = np.random.default_rng([seed, PLACE_STREAM, number, stream])
    dark = low_light and sensor == "visible"
    low, high = _gain_range(sensor, setting, dark)
    warm = float(rng.uniform(-0.06, 0.02) if setting == "outdoor" else rng.uniform(0.05, 0.13))
    if dark:
        warm += float(rng.choice([-0.12, 0.14]))  # fluorescent tubes or sodium lamps
    return FixedCamera(
        number=number,
        sensor=sensor,
        place=Place((seed, PLACE_STREAM, place, 1), setting),
        zoom=float(rng.uniform(0.86, 1.03)),
        roll=float(rng.uniform(-0.05, 0.05)),
        gain=float(rng.uniform(low, high)),
        gamma=float(rng.uniform(0.85, 1.15)),
        cast=(1 + warm, 1 + float(rng.uniform(-0.03, 0.03)), 1 - 1.4 * warm),
        softness=float(rng.uniform(0.2, 0.8)),
        grain=float(rng.uniform(0.012, 0.025)) + (0.02 if dark else 0.0),
        light_side=float(rng.choice([-1, 1]) * rng.uniform(0.3, 1)),
        sunny_rate=SUNNY_RATE if sensor == "visible" and setting == "outdoor" and not dark else 0.0,
    )


def _gain_range(sensor: FixedSensor, setting: Setting, dark: bool) -> tuple[float, float]:
    if sensor == "nir":
        return 0.9, 1.15
    if dark:
        return 0.32, 0.45
    return (0.9, 1.1) if setting == "outdoor" else (0.64, 0.76)


@dataclass(frozen=True)
class CameraVisit:
    """The conditions of one identity's visit to a camera; a `View` of `render`."""

    camera: FixedCamera
    start: float  # left edge of the visible part of the panorama, image heights
    sun: float  # strength; 0 under clouds and indoors
    gain: float
    shade: float | None  # edge of a large shadow, -1 left to 1 right; None without one

    @property
    def sensor(self) -> FixedSensor:
        return self.camera.sensor

    @property
    def zoom(self) -> float:
        return self.camera.zoom

    @property
    def roll(self) -> float:
        return self.camera.roll

    def background(self, rng: np.random.Generator, shape: tuple[int, int]) -> FloatImage:
        """Return a window of the panorama near `start`."""
        height, width = shape
        whole = panorama(self.camera.place, self.sensor, height)
        last = whole.shape[1] - width
        left = min(int(max(self.start + rng.uniform(-0.25, 0.25), 0) * height), last)
        top = int(rng.uniform(0.25, 0.75) * (HEIGHT - 1) * height)
        window = whole[top : top + height, left : left + width]
        scene: FloatImage = window.astype(np.float32) / np.float32(255)
        if self.sensor == "nir":  # the lamp's light falls off with distance
            scene *= 0.45 if self.camera.outdoor else 0.75
        return scene

    def add_shadow(
        self, rng: np.random.Generator, image: FloatImage, pose: Pose, figure: Sequence[Shape]
    ) -> None:
        """Add a hard, long shadow in the sun, a soft one otherwise, and none for near infrared."""
        if self.sun:
            _add_sun_shadow(image, pose, figure, -self.camera.light_side, 0.5 * self.sun)
        elif self.sensor == "visible":
            add_contact_shadow(image, pose, float(rng.uniform(-0.05, 0.05)), 0.3)

    def sample_shading(self, rng: np.random.Generator) -> tuple[float, float]:
        """Light comes from one side in the sun, from the front by lamp, from everywhere otherwise."""
        if self.sensor == "nir":
            return 0.3, 0.2 * self.camera.light_side + float(rng.uniform(-0.1, 0.1))
        if self.sun:
            return 0.25 + 0.25 * self.sun, 0.7 * self.camera.light_side
        return 0.2, float(rng.uniform(-0.3, 0.3))

    def sample_occluder(self, rng: np.random.Generator) -> FloatImage:
        """Return the tone of a random pixel of the scenery."""
        whole = panorama(self.camera.place, self.sensor, 64)
        y, x = rng.integers(whole.shape[0]), rng.integers(whole.shape[1])
        return whole[y, x].astype(np.float32) / np.float32(255)

    def expose(self, rng: np.random.Generator, image: FloatImage) -> FloatImage:
        """Apply light or gain, blur and noise."""
        gain = self.gain * float(rng.uniform(0.96, 1.04))
        expose = self._expose_visible if self.sensor == "visible" else self._expose_near_infrared
        return expose(rng, image, gain)

    def _expose_visible(self, rng: np.random.Generator, image: FloatImage, gain: float) -> FloatImage:
        camera = self.camera
        if self.shade is not None:
            edge = self.shade + float(rng.uniform(-0.4, 0.4))
            image = _shade_one_side(image, edge, camera.light_side, 0.45 * self.sun)
        colour = np.array(camera.cast)
        if camera.outdoor:
            colour = colour * (SUNLIGHT if self.sun else CLOUDY_LIGHT)
        lit: NDArray[np.floating] = np.clip(image * gain * colour, 0, 1) ** camera.gamma
        if rng.random() < 0.2:
            lit = motion_blur(lit)
        softness = camera.softness * float(rng.uniform(0.8, 1.3))
        return blur(lit.astype(np.float32), softness) + pixel_noise(rng, image.shape, camera.grain)

    def _expose_near_infrared(
        self, rng: np.random.Generator, image: FloatImage, gain: float
    ) -> FloatImage:
        """Light the centre, sharpen, and add noise that grows with brightness; returns equal channels."""
        height, width = image.shape[:2]
        y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
        centre = (0.5 * width / height + 0.1 * self.camera.light_side, 0.4 + rng.uniform(-0.05, 0.05))
        lamp = 1.12 - 0.9 * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2)
        lit = np.clip(image * (gain * np.clip(lamp, 0, 2))[..., None], 0, 1) ** self.camera.gamma
        soft = blur(lit.astype(np.float32), 0.5 * self.camera.softness + 0.2)
        sharp = soft + 0.5 * (soft - blur(soft, 1.2))
        grain = pixel_noise(rng, (height, width, 1), self.camera.grain) * (0.6 + sharp)
        streaks = 0.01 * smooth_noise(rng, (height, width), (24, 1))[..., None]
        return np.repeat(sharp + grain + streaks, 3, axis=2)


def _shade_one_side(image: FloatImage, edge: float, light_side: float, strength: float) -> FloatImage:
    """Darken the side away from the sun; the slanting edge is at `edge` (-1 left to 1 right)."""
    height, width = image.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    behind = (x - edge + 0.6 * light_side * y) * light_side < 0
    shaded: FloatImage = image * np.where(behind, np.float32(1 - strength), np.float32(1))[..., None]
    return shaded


def _add_sun_shadow(
    image: FloatImage, pose: Pose, figure: Sequence[Shape], direction: float, strength: float
) -> None:
    """Darken the figure's outline projected onto the ground, in place."""
    height, width = image.shape[:2]
    mask = Image.new("1", (width, height))
    pen = ImageDraw.Draw(mask)
    for shape in figure:
        above = pose.y - shape.outline[:, 1]
        x = shape.outline[:, 0] + 0.8 * direction * above
        y = pose.y - 0.22 * above
        pen.polygon([(float(a), float(b)) for a, b in zip(x * height, y * height, strict=True)], fill=1)
    image *= np.where(np.asarray(mask), np.float32(1 - strength), np.float32(1))[..., None]
