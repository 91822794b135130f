"""Render a person as a camera records them."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tsme.synthetic.cameras import optics
from tsme.synthetic.cameras.optics import FloatImage
from tsme.synthetic.difficulty import VARIATIONS, FrameVariation
from tsme.synthetic.people.figure import pose_figure
from tsme.synthetic.people.pattern import accent_mask
from tsme.synthetic.people.person import Facing, Person, Sensor
from tsme.synthetic.people.shapes import Pose, Shape

OVERSAMPLE = 2  # images are painted this many times larger, then averaged, for smooth edges
FOLD_STRENGTH = {"visible": 0.06, "thermal": 0.03, "nir": 0.07}  # relative unevenness of cloth


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
        _paint_figure(person, figure, view, image, view_rng)
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


def _paint_figure(
    person: Person,
    figure: Sequence[Shape],
    view: View,
    image: FloatImage,
    rng: np.random.Generator,
) -> None:
    """Paint the figure over `image`, in place."""
    part_tones = person.tones[view.sensor].items()
    tones = {part: np.array(tone, dtype=np.float32) for part, tone in part_tones}
    folds = 1 + FOLD_STRENGTH[view.sensor] * optics.smooth_noise(rng, image.shape[:2], (24, 12))
    shading = view.sample_shading(rng)
    for shape in figure:
        _paint_shape(shape, tones, image, folds, shading)


def _paint_shape(
    shape: Shape,
    tones: dict[str, FloatImage],
    image: FloatImage,
    folds: FloatImage,
    shading: tuple[float, float],
) -> None:
    """Paint one shape over `image`, in place; the arguments are in pixels of the enlarged image."""
    height, width = image.shape[:2]
    xs, ys = (shape.outline * height).T.tolist()
    left, right = max(math.floor(min(xs)), 0), min(math.ceil(max(xs)) + 1, width)
    top, bottom = max(math.floor(min(ys)), 0), min(math.ceil(max(ys)) + 1, height)
    if right <= left or bottom <= top:
        return
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in zip(xs, ys, strict=True)], fill=1)
    inside = np.asarray(mask).view(np.bool_)
    window = image[top:bottom, left:right]
    u, v = _garment_coordinates(shape, np.arange(left, right), np.arange(top, bottom), height)
    darkening, light = shading
    shade = 1 - darkening * np.minimum(np.maximum(np.abs(u - light) - 0.2, 0), 1.2)
    shade *= folds[top:bottom, left:right]
    _fill(window, inside, tones[shape.part], shade)
    if shape.pattern is not None:
        accent = accent_mask(shape.pattern, shape.u_offset + shape.u_scale * u, shape.v_scale * v)
        _fill(window, inside & accent, tones[f"{shape.part}_accent"], shade)


def _fill(window: FloatImage, where: NDArray[np.bool_], tone: FloatImage, shade: FloatImage) -> None:
    """Write `tone` times `shade` into `window` where `where` is True, in place.

    One channel at a time: NumPy's inner loop over the three channels together has only three steps.
    """
    for channel, level in enumerate(tone):
        np.multiply(shade, level, out=window[..., channel], where=where)


def _garment_coordinates(
    shape: Shape, columns: NDArray[np.int64], rows: NDArray[np.int64], height: int
) -> tuple[FloatImage, FloatImage]:
    """Return the shape's u and v, each (h, w), at pixel columns (w,) and rows (h,)."""
    start, axis = shape.top * height, (shape.bottom - shape.top) * height
    length = max(float(np.hypot(axis[0], axis[1])), 1e-6)
    along = axis / length
    across = shape.sign * along
    x = columns.astype(np.float32) - np.float32(start[0])
    y = (rows.astype(np.float32) - np.float32(start[1]))[:, None]
    u = (x * across[1] - y * across[0]) / max(shape.half_width * height, 1e-6)
    v = (x * along[0] + y * along[1]) / length
    return u.astype(np.float32), v.astype(np.float32)
