"""A camera that hangs at one place: what it makes of all people who pass.

Its place, zoom, colour cast, gain and noise stay; the weather and the stretch of the scene that is
seen belong to one person's visit; where the person stands and small changes of light to one picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tsme.synthetic.cameras.optics import Picture, blur, ground_shadow, noise, smear, smooth_noise
from tsme.synthetic.cameras.place import HEIGHT, WIDTH, Place, Sensor, Setting, panorama
from tsme.synthetic.people.sketch import Pose, Shape

PLACE_STREAM = 0x9ACE  # keeps the generators of places and cameras apart from those of identities
SUNNY = 0.65  # share of visits in sunshine, outdoors and by day
CLOUDED = (0.97, 1.0, 1.05)  # colour of the light under clouds
SUNLIT = (1.06, 1.0, 0.92)


@dataclass(frozen=True)
class Camera:
    """What stays of a camera. Light is relative to a picture as bright as what it shows."""

    number: int
    modality: Sensor
    place: Place
    zoom: float
    roll: float
    gain: float
    gamma: float
    cast: tuple[float, float, float]
    softness: float  # of the lens, radius in pixels
    grain: float  # standard deviation of the noise
    sun: float  # where the sun stands, or the infrared lamp: -1 left to 1 right
    sunny: float  # share of visits in sunshine

    @property
    def outdoor(self) -> bool:
        """Whether light changes with the weather and lamps have no walls to shine on."""
        return self.place.setting == "outdoor"

    def visit(self, rng: np.random.Generator) -> Visit:
        """The conditions under which one person passes."""
        sunny = rng.random() < self.sunny
        vary = 0.22 if self.outdoor else 0.04
        return Visit(
            camera=self,
            start=float(rng.uniform(0, WIDTH - 1.2)),
            sun=float(rng.uniform(0.6, 1.0)) if sunny else 0.0,
            gain=self.gain * float(rng.uniform(1 - vary, 1 + vary)) * (1.12 if sunny else 1.0),
            shade=float(rng.uniform(-1, 1)) if sunny and rng.random() < 0.5 else None,
        )


class Mounting(NamedTuple):
    """A camera as a layout knows it. Cameras of one place see the same scenery.

    `low_light` is a place that only an infrared camera, which brings its lamp, sees well.
    """

    number: int
    modality: Sensor
    place: int
    setting: Setting
    low_light: bool = False


def mount(seed: int, mounting: Mounting) -> Camera:
    """The camera, whose character follows from the seed."""
    number, modality, place, setting, low_light = mounting
    stream = 2 if modality == "visible" else 3
    rng = np.random.default_rng([seed, PLACE_STREAM, number, stream])
    dark = low_light and modality == "visible"
    if modality == "nir":
        low, high = 0.9, 1.15
    elif dark:
        low, high = 0.32, 0.45
    else:
        low, high = (0.9, 1.1) if setting == "outdoor" else (0.64, 0.76)
    warm = float(rng.uniform(-0.06, 0.02) if setting == "outdoor" else rng.uniform(0.05, 0.13))
    if dark:
        warm += float(rng.choice([-0.12, 0.14]))  # cold tubes or sodium lamps
    return Camera(
        number=number,
        modality=modality,
        place=Place((seed, PLACE_STREAM, place, 1), setting),
        zoom=float(rng.uniform(0.86, 1.03)),
        roll=float(rng.uniform(-0.05, 0.05)),
        gain=float(rng.uniform(low, high)),
        gamma=float(rng.uniform(0.85, 1.15)),
        cast=(1 + warm, 1 + float(rng.uniform(-0.03, 0.03)), 1 - 1.4 * warm),
        softness=float(rng.uniform(0.2, 0.8)),
        grain=float(rng.uniform(0.012, 0.025)) + (0.02 if dark else 0.0),
        sun=float(rng.choice([-1, 1]) * rng.uniform(0.3, 1)),
        sunny=SUNNY if modality == "visible" and setting == "outdoor" and not dark else 0.0,
    )


@dataclass(frozen=True)
class Visit:
    """One person's passing before a camera."""

    camera: Camera
    start: float  # of the stretch of the panorama that is seen
    sun: float  # 0: clouded, or indoors
    gain: float
    shade: float | None  # where the edge of a large shadow runs, if there is one

    @property
    def modality(self) -> Sensor:
        """The camera's."""
        return self.camera.modality

    @property
    def zoom(self) -> float:
        """The camera's."""
        return self.camera.zoom

    @property
    def roll(self) -> float:
        """The camera's."""
        return self.camera.roll

    def background(self, rng: np.random.Generator, shape: tuple[int, int]) -> Picture:
        """What stands behind the person, who walks along a short stretch of the place."""
        height, width = shape
        whole = panorama(self.camera.place, self.modality, height)
        last = whole.shape[1] - width
        left = min(int(max(self.start + rng.uniform(-0.25, 0.25), 0) * height), last)
        top = int(rng.uniform(0.25, 0.75) * (HEIGHT - 1) * height)
        window = whole[top : top + height, left : left + width]
        seen: Picture = window.astype(np.float32) / np.float32(255)
        if self.modality == "nir":  # the lamp's light falls off with distance
            seen *= 0.45 if self.camera.outdoor else 0.75
        return seen

    def shadow(
        self, rng: np.random.Generator, picture: Picture, pose: Pose, figure: Sequence[Shape]
    ) -> None:
        """Hard and long in the sun, else soft and faint; the infrared lamp hides its own."""
        if self.sun:
            _cast(picture, pose, figure, -self.camera.sun, 0.5 * self.sun)
        elif self.modality == "visible":
            ground_shadow(picture, pose, float(rng.uniform(-0.05, 0.05)), 0.3)

    def light(self, rng: np.random.Generator) -> tuple[float, float]:
        """From the side in the sun, from the front with the infrared lamp, all around otherwise."""
        if self.modality == "nir":
            return 0.3, 0.2 * self.camera.sun + float(rng.uniform(-0.1, 0.1))
        if self.sun:
            return 0.25 + 0.25 * self.sun, 0.7 * self.camera.sun
        return 0.2, float(rng.uniform(-0.3, 0.3))

    def occluder(self, rng: np.random.Generator) -> Picture:
        """Some tone of the place itself."""
        whole = panorama(self.camera.place, self.modality, 64)
        y, x = rng.integers(whole.shape[0]), rng.integers(whole.shape[1])
        return whole[y, x].astype(np.float32) / np.float32(255)

    def expose(self, rng: np.random.Generator, picture: Picture) -> Picture:
        """The sensor: light or gain, blur and noise."""
        gain = self.gain * float(rng.uniform(0.96, 1.04))
        develop = self._in_colour if self.modality == "visible" else self._by_lamp
        return develop(rng, picture, gain)

    def _in_colour(self, rng: np.random.Generator, picture: Picture, gain: float) -> Picture:
        camera = self.camera
        if self.shade is not None:
            edge = self.shade + float(rng.uniform(-0.4, 0.4))
            picture = _half_shaded(picture, edge, camera.sun, 0.45 * self.sun)
        colour = np.array(camera.cast)
        if camera.outdoor:
            colour = colour * (SUNLIT if self.sun else CLOUDED)
        lit: NDArray[np.floating] = np.clip(picture * gain * colour, 0, 1) ** camera.gamma
        if rng.random() < 0.2:
            lit = smear(lit)
        softness = camera.softness * float(rng.uniform(0.8, 1.3))
        return blur(lit.astype(np.float32), softness) + noise(rng, picture.shape, camera.grain)

    def _by_lamp(self, rng: np.random.Generator, picture: Picture, gain: float) -> Picture:
        """A bright middle, edges that the camera sharpens, more grain where it is brighter."""
        height, width = picture.shape[:2]
        y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
        middle = (0.5 * width / height + 0.1 * self.camera.sun, 0.4 + rng.uniform(-0.05, 0.05))
        lamp = 1.12 - 0.9 * ((x - middle[0]) ** 2 + (y - middle[1]) ** 2)
        lit = np.clip(picture * (gain * np.clip(lamp, 0, 2))[..., None], 0, 1) ** self.camera.gamma
        soft = blur(lit.astype(np.float32), 0.5 * self.camera.softness + 0.2)
        sharp = soft + 0.5 * (soft - blur(soft, 1.2))
        grain = noise(rng, (height, width, 1), self.camera.grain) * (0.6 + sharp)
        streaks = 0.01 * smooth_noise(rng, (height, width), (24, 1))[..., None]
        return np.repeat(sharp + grain + streaks, 3, axis=2)


def _half_shaded(picture: Picture, edge: float, sun: float, strength: float) -> Picture:
    """With a large shadow away from the sun, its slanting edge at `edge` (-1 left to 1 right)."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    behind = (x - edge + 0.6 * sun * y) * sun < 0
    shaded: Picture = picture * np.where(behind, np.float32(1 - strength), np.float32(1))[..., None]
    return shaded


def _cast(picture: Picture, pose: Pose, figure: Sequence[Shape], towards: float, strength: float) -> None:
    """Darken the figure's own outline laid along the ground, in place."""
    height, width = picture.shape[:2]
    mask = Image.new("1", (width, height))
    pen = ImageDraw.Draw(mask)
    for shape in figure:
        above = pose.y - shape.outline[:, 1]
        x = shape.outline[:, 0] + 0.8 * towards * above
        y = pose.y - 0.22 * above
        pen.polygon([(float(a), float(b)) for a, b in zip(x * height, y * height, strict=True)], fill=1)
    picture *= np.where(np.asarray(mask), np.float32(1 - strength), np.float32(1))[..., None]
