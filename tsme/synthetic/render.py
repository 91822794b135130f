"""Render a person as a camera records them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from PIL import Image

from tsme.synthetic.cameras import optics
from tsme.synthetic.cameras.optics import FloatImage
from tsme.synthetic.difficulty import VARIATIONS, FrameVariation
from tsme.synthetic.painting import Light, Painter
from tsme.synthetic.people.figure import pose_figure
from tsme.synthetic.people.person import Facing, Person, Sensor
from tsme.synthetic.people.shapes import Pose, Shape

OVERSAMPLE = 2  # images are painted this many times larger, then averaged, for smooth edges
FOLD_CELLS = (24, 12)  # cells of the noise that folds follow, per image
WEAVE_CELLS = (80, 40)


class View(Protocol):
    """A camera and its conditions. Methods that take an image change it in place."""

    @property
    def sensor(self) -> Sensor: ...

    @property
    def zoom(self) -> float:
        """Factor of a person's height in the image."""

    @property
    def roll(self) -> float:
        """Tilt of the camera, radians."""

    def background(self, rng: np.random.Generator, shape: tuple[int, int]) -> FloatImage:
        """Return a scene (height, width, channels) without the person."""

    def add_shadow(
        self, rng: np.random.Generator, image: FloatImage, pose: Pose, figure: Sequence[Shape]
    ) -> None:
        """Add the person's shadow."""

    def sample_shading(self, rng: np.random.Generator) -> tuple[float, float]:
        """Return how much rounded parts darken towards their edges, and where on them (u) light falls."""

    def sample_occluder(self, rng: np.random.Generator) -> FloatImage:
        """Return the tone (channels,) of an object in front of the person."""

    def expose(self, rng: np.random.Generator, image: FloatImage) -> FloatImage:
        """Apply light, blur and noise; returns three channels, not yet clipped."""


def sample_facing(person: Person, rng: np.random.Generator, variation: FrameVariation) -> Facing:
    """Sample the side seen in one frame."""
    if rng.random() >= variation.other_side_rate:
        return person.facing
    return "back" if person.facing == "front" else "front"


def render(
    person: Person,
    view: View,
    rng: np.random.Generator,
    size: tuple[int, int] = (64, 128),
    *,
    facing: Facing | None = None,
    variation: FrameVariation = VARIATIONS["normal"],
) -> Image.Image:
    """Render one RGB image of `size` (width, height); `facing` is sampled if None.

    Infrared images have three equal channels, as in the real data sets.
    """
    return render_views(person, [view], rng, size, facing=facing, variation=variation)[0]


def render_views(
    person: Person,
    views: Sequence[View],
    rng: np.random.Generator,
    size: tuple[int, int],
    *,
    facing: Facing | None,
    variation: FrameVariation,
) -> list[Image.Image]:
    """Render one moment in several views with the same pose and occlusion.

    The first image and the final state of `rng` are the same as with the first view alone.
    """
    width, height = size
    facing = facing or sample_facing(person, rng, variation)
    pose = _sample_pose(person, views[0], rng, width / height, facing, variation.pose_scale)
    figure = pose_figure(person, pose)
    others = [copy.deepcopy(rng) for _ in views[1:]]
    occlusion: np.random.Generator | None = None
    images = []
    for view, view_rng in zip(views, [rng, *others], strict=True):
        image = view.background(view_rng, (height * OVERSAMPLE, width * OVERSAMPLE))
        view.add_shadow(view_rng, image, pose, figure)
        light = _sample_light(view, view_rng, image.shape[:2], fabrics=bool(person.textures))
        Painter(person, view.sensor, image, light).paint(figure)
        occluded = view_rng.random() < variation.occlusion_rate
        if view_rng is rng and occluded:
            tone = view.sample_occluder(view_rng)
            occlusion = copy.deepcopy(view_rng)
            optics.occlude(view_rng, image, tone)
        elif occlusion is not None:
            optics.occlude(copy.deepcopy(occlusion), image, view.sample_occluder(view_rng))
        small = image.reshape(height, OVERSAMPLE, width, OVERSAMPLE, -1).mean(axis=(1, 3))
        images.append(Image.fromarray(optics.to_uint8(view.expose(view_rng, small))))
    return images


def _sample_pose(
    person: Person,
    view: View,
    rng: np.random.Generator,
    aspect: float,
    facing: Facing,
    pose_scale: float,
) -> Pose:
    scale = view.zoom * person.body.height * rng.uniform(0.93, 1.05)
    return Pose(
        facing=facing,
        phase=float(rng.uniform(0, 2 * np.pi)),
        stride=float(rng.uniform(0.1, 0.1 + 0.4 * pose_scale)),
        swing=float(rng.uniform(0.05, 0.25)),
        yaw=float(rng.uniform(-0.4 * pose_scale, 0.4 * pose_scale)),
        tilt=view.roll + float(rng.normal(0, 0.025 * pose_scale)),
        scale=float(scale),
        x=float(aspect * (0.5 + rng.uniform(-0.06 * pose_scale, 0.06 * pose_scale))),
        y=float(0.5 + scale / 2 + rng.uniform(-0.025 * pose_scale, 0.025 * pose_scale)),
    )


def _sample_light(
    view: View, rng: np.random.Generator, shape: tuple[int, int], *, fabrics: bool
) -> Light:
    folds = optics.smooth_noise(rng, shape, FOLD_CELLS)
    weave = optics.smooth_noise(rng, shape, WEAVE_CELLS) if fabrics else np.zeros_like(folds)
    darkening, side = view.sample_shading(rng)
    return Light(darkening, side, folds, weave)
