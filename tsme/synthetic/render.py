"""From a person and a camera to a picture."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tsme.synthetic.cameras import optics
from tsme.synthetic.cameras.optics import Picture
from tsme.synthetic.difficulty import LEVELS, Difficulty
from tsme.synthetic.people.figure import pose_figure
from tsme.synthetic.people.pattern import accent_mask
from tsme.synthetic.people.person import Facing, Modality, Person
from tsme.synthetic.people.sketch import Pose, Shape

OVERSAMPLE = 2  # drawn so many times larger, then averaged: smooth edges
FOLDS = {"visible": 0.06, "thermal": 0.03, "nir": 0.07}  # uneven cloth


class View(Protocol):
    """What a camera makes of a person standing before it; pictures are worked on in place."""

    @property
    def modality(self) -> Modality:
        """Which of the person's looks the sensor sees."""

    @property
    def zoom(self) -> float:
        """How much of the picture's height a person fills, relative to others."""

    @property
    def roll(self) -> float:
        """How far the camera is tilted, in radians."""

    def background(self, rng: np.random.Generator, shape: tuple[int, int]) -> Picture:
        """A scene (height, width) without the person."""

    def shadow(
        self, rng: np.random.Generator, picture: Picture, pose: Pose, figure: Sequence[Shape]
    ) -> None:
        """The shadow the person casts."""

    def light(self, rng: np.random.Generator) -> tuple[float, float]:
        """How much rounded parts fade towards their edges, and where on them the light falls."""

    def occluder(self, rng: np.random.Generator) -> Picture:
        """The tone of something in front of the person."""

    def expose(self, rng: np.random.Generator, picture: Picture) -> Picture:
        """The sensor: three channels, not yet clipped."""


def draw_facing(person: Person, rng: np.random.Generator, difficulty: Difficulty) -> Facing:
    """The side seen in one frame."""
    if rng.random() >= difficulty.other_side:
        return person.facing
    return "back" if person.facing == "front" else "front"


def render(
    person: Person,
    view: View,
    rng: np.random.Generator,
    size: tuple[int, int] = (64, 128),
    *,
    facing: Facing | None = None,
    difficulty: Difficulty = LEVELS["normal"],
) -> Image.Image:
    """One picture of `person`; `size` is (width, height), `facing` is drawn if not given.

    Infrared pictures are grayscale, stored as RGB with equal channels, as those of real data sets are.
    """
    return render_moment(person, [view], rng, size, facing=facing, difficulty=difficulty)[0]


def render_moment(
    person: Person,
    views: Sequence[View],
    rng: np.random.Generator,
    size: tuple[int, int],
    *,
    facing: Facing | None,
    difficulty: Difficulty,
) -> list[Image.Image]:
    """One moment in the eyes of several sensors at one place: stance and what hides it are the same.

    The first picture is what `render` makes of it, and the generator's state after it too.
    """
    first, width, height = views[0], *size
    facing = facing or draw_facing(person, rng, difficulty)
    pose = _draw_pose(person, first, rng, width / height, facing, difficulty.sway)
    others = [copy.deepcopy(rng) for _ in views[1:]]
    hidden: np.random.Generator | None = None
    pictures = []
    for view, own in zip(views, [rng, *others], strict=True):
        picture = view.background(own, (height * OVERSAMPLE, width * OVERSAMPLE))
        figure = pose_figure(person, pose)
        view.shadow(own, picture, pose, figure)
        _paint(person, figure, view, picture, own)
        occluded = own.random() < difficulty.occluded
        if own is rng and occluded:
            tone = view.occluder(own)
            hidden = copy.deepcopy(own)
            optics.occlude(own, picture, tone)
        elif hidden is not None:
            optics.occlude(copy.deepcopy(hidden), picture, view.occluder(own))
        small = picture.reshape(height, OVERSAMPLE, width, OVERSAMPLE, -1).mean(axis=(1, 3))
        pictures.append(Image.fromarray(optics.eight_bit(view.expose(own, small))))
    return pictures


def _draw_pose(
    person: Person, view: View, rng: np.random.Generator, aspect: float, facing: Facing, sway: float
) -> Pose:
    scale = view.zoom * person.body.height * rng.uniform(0.93, 1.05)
    return Pose(
        facing=facing,
        phase=float(rng.uniform(0, 2 * np.pi)),
        stride=float(rng.uniform(0.1, 0.1 + 0.4 * sway)),
        swing=float(rng.uniform(0.05, 0.25)),
        yaw=float(rng.uniform(-0.4 * sway, 0.4 * sway)),
        tilt=view.roll + float(rng.normal(0, 0.025 * sway)),
        scale=float(scale),
        x=float(aspect * (0.5 + rng.uniform(-0.06 * sway, 0.06 * sway))),
        y=float(0.5 + scale / 2 + rng.uniform(-0.025 * sway, 0.025 * sway)),
    )


def _paint(
    person: Person,
    figure: Sequence[Shape],
    view: View,
    picture: Picture,
    rng: np.random.Generator,
) -> None:
    """Paint the figure over `picture`, in place."""
    tones = person.looks[view.modality].items()
    look = {part: np.array(tone, dtype=np.float32) for part, tone in tones}
    folds = 1 + FOLDS[view.modality] * optics.smooth_noise(rng, picture.shape[:2], (24, 12))
    fading, light = view.light(rng)
    for shape in figure:
        _paint_shape(shape, look, picture, folds, fading, light)


def _paint_shape(
    shape: Shape,
    look: dict[str, Picture],
    picture: Picture,
    folds: Picture,
    fading: float,
    light: float,
) -> None:
    height, width = picture.shape[:2]
    xs, ys = (shape.outline * height).T.tolist()
    left, right = max(math.floor(min(xs)), 0), min(math.ceil(max(xs)) + 1, width)
    top, bottom = max(math.floor(min(ys)), 0), min(math.ceil(max(ys)) + 1, height)
    if right <= left or bottom <= top:
        return
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in zip(xs, ys, strict=True)], fill=1)
    inside = np.asarray(mask).view(np.bool_)
    window = picture[top:bottom, left:right]
    u, v = _garment_grid(shape, np.arange(left, right), np.arange(top, bottom), height)
    shade = 1 - fading * np.minimum(np.maximum(np.abs(u - light) - 0.2, 0), 1.2)
    shade *= folds[top:bottom, left:right]
    _fill(window, inside, look[shape.part], shade)
    if shape.pattern is not None:
        accent = accent_mask(shape.pattern, shape.u_offset + shape.u_scale * u, shape.v_scale * v)
        _fill(window, inside & accent, look[f"{shape.part}_accent"], shade)


def _fill(window: Picture, where: NDArray[np.bool_], tone: Picture, shade: Picture) -> None:
    """Paint shaded tone over a window, in place.

    Channel by channel: over all three at once, NumPy's inner loops would be three steps long.
    """
    for channel, level in enumerate(tone):
        np.multiply(shade, level, out=window[..., channel], where=where)


def _garment_grid(
    shape: Shape, columns: NDArray[np.int64], lines: NDArray[np.int64], height: int
) -> tuple[Picture, Picture]:
    """The shape's own u and v for the pixels of these columns (w,) and lines (h,), either (h, w)."""
    start, axis = shape.top * height, (shape.bottom - shape.top) * height
    length = max(float(np.hypot(axis[0], axis[1])), 1e-6)
    along = axis / length
    across = shape.sign * along
    x = columns.astype(np.float32) - np.float32(start[0])
    y = (lines.astype(np.float32) - np.float32(start[1]))[:, None]
    u = (x * across[1] - y * across[0]) / max(shape.half_width * height, 1e-6)
    v = (x * along[0] + y * along[1]) / length
    return u.astype(np.float32), v.astype(np.float32)
