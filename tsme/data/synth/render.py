"""From a person and a camera to a picture."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw

from tsme.data.synth import optics
from tsme.data.synth.difficulty import LEVELS, Difficulty
from tsme.data.synth.figure import pose_figure
from tsme.data.synth.optics import Picture
from tsme.data.synth.pattern import accent_mask
from tsme.data.synth.person import Facing, Modality, Person
from tsme.data.synth.sketch import Points, Pose, Shape

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

    Infrared pictures are grey, stored as RGB with equal channels, as those of real data sets are.
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
    outline = shape.outline * height
    low = np.maximum(np.floor(outline.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 1, (width, height))
    if np.any(high <= low):
        return
    inside = _fill(outline - low, (int(high[0] - low[0]), int(high[1] - low[1])))
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    u, v = _garment_grid(shape, low, high, height)
    tone = np.broadcast_to(look[shape.part], (*u.shape, picture.shape[2]))
    if shape.pattern is not None:
        garment_u, garment_v = shape.u_offset + shape.u_scale * u, shape.v_scale * v
        accent = accent_mask(shape.pattern, garment_u, garment_v)
        tone = np.where(accent[..., None], look[f"{shape.part}_accent"], tone)
    rounded = 1 - fading * np.clip(np.abs(u - light) - 0.2, 0, 1.2)
    tone = tone * (rounded * folds[window])[..., None]
    picture[window] = np.where(inside[..., None], tone, picture[window])


def _fill(outline: Points, size: tuple[int, int]) -> Picture:
    mask = Image.new("1", size)
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in outline], fill=1)
    return np.asarray(mask)


def _garment_grid(shape: Shape, low: Points, high: Points, height: int) -> tuple[Picture, Picture]:
    """The shape's own u and v for every pixel of the window [low, high)."""
    top, axis = shape.top * height, (shape.bottom - shape.top) * height
    length = max(float(np.hypot(axis[0], axis[1])), 1e-6)
    along = axis / length
    x = np.arange(low[0], high[0], dtype=np.float32)[None, :] - np.float32(top[0])
    y = np.arange(low[1], high[1], dtype=np.float32)[:, None] - np.float32(top[1])
    v = (x * along[0] + y * along[1]) / length
    u = shape.sign * (x * along[1] - y * along[0]) / max(shape.half_width * height, 1e-6)
    return u.astype(np.float32), v.astype(np.float32)
