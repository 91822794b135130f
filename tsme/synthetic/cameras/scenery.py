"""Scenery of a fixed camera: a panorama, wider than one image of it.

All sensors at a place see the same surfaces. The near-infrared reflectance of painted surfaces is
independent of their colour; leaves are always bright, sky, glass and tyres dark.

Coordinates: x from 0 to WIDTH, y from 0 (top) to HEIGHT, in image heights.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tsme.synthetic.cameras.optics import smooth_noise

Setting: TypeAlias = Literal["indoor", "outdoor"]
FixedSensor: TypeAlias = Literal["visible", "nir"]

WIDTH, HEIGHT = 4.0, 1.15
ROUGHNESS = {"indoor": 0.012, "outdoor": 0.045}  # relative brightness noise of surfaces


class Place(NamedTuple):
    """A camera location; `seed` determines its scenery."""

    seed: tuple[int, ...]
    setting: Setting


class Surface(NamedTuple):
    """A polygon with a colour (r, g, b) and a near-infrared reflectance."""

    outline: list[tuple[float, float]]
    colour: tuple[float, float, float]
    reflectance: float


@lru_cache(maxsize=64)
def panorama(place: Place, sensor: FixedSensor, height: int) -> NDArray[np.uint8]:
    """Render a place for images of `height` pixels: (HEIGHT * height, WIDTH * height, channels)."""
    rng = np.random.default_rng(place.seed)
    scenery = _room if place.setting == "indoor" else _street
    size = (round(WIDTH * height), round(HEIGHT * height))
    image = Image.new("RGB" if sensor == "visible" else "L", size)
    pen = ImageDraw.Draw(image)
    for surface in scenery(rng):
        tone = surface.colour if sensor == "visible" else (surface.reflectance,)
        levels = tuple(int(255 * min(max(level, 0.0), 1.0)) for level in tone)
        points = [(x * height, y * height) for x, y in surface.outline]
        pen.polygon(points, fill=levels if sensor == "visible" else levels[0])
    shape = (size[1], size[0])
    rough = smooth_noise(rng, shape, (90, 320)) + 0.7 * smooth_noise(rng, shape, (24, 80))
    uneven = 0.05 * smooth_noise(rng, shape, (3, 9))  # uneven lighting
    lit = np.asarray(image, dtype=np.float32).reshape(*shape, -1)
    lit = lit * (1 + ROUGHNESS[place.setting] * rough + uneven)[..., None]
    return (np.clip(lit, 0, 255) + 0.5).astype(np.uint8)


def _box(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _oval(x: float, y: float, rx: float, ry: float) -> list[tuple[float, float]]:
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    return [(x + rx * float(np.cos(a)), y + ry * float(np.sin(a))) for a in angle]


def _sample_paint(
    rng: np.random.Generator,
    low: float,
    high: float,
    tint: tuple[float, float, float],
    vary: float = 0.03,
) -> tuple[tuple[float, float, float], float]:
    """Sample a colour of brightness low..high near `tint`, and an independent reflectance."""
    level = float(rng.uniform(low, high))
    r, g, b = (level * t + float(rng.uniform(-vary, vary)) for t in tint)
    return (r, g, b), float(rng.uniform(0.2, 0.75))


def _room(rng: np.random.Generator) -> Iterator[Surface]:
    """Yield a plain wall with doors, boards and pillars, and a tiled floor."""
    floor = float(rng.uniform(0.72, 0.95))
    tint = (1.0, float(rng.uniform(0.93, 0.98)), float(rng.uniform(0.8, 0.93)))
    wall, wall_nir = _sample_paint(rng, 0.62, 0.85, tint)
    yield Surface(_box(0, 0, WIDTH, HEIGHT), wall, wall_nir)
    if rng.random() < 0.5:
        yield Surface(
            _box(0, floor - rng.uniform(0.2, 0.4), WIDTH, floor), *_sample_paint(rng, 0.4, 0.65, tint)
        )
    for _ in range(rng.integers(2, 5)):
        yield from _door(rng, float(rng.uniform(0, WIDTH)), floor)
    for _ in range(rng.integers(2, 7)):
        x, y = float(rng.uniform(0, WIDTH)), float(rng.uniform(0.15, 0.4))
        board = _box(x, y, x + rng.uniform(0.1, 0.4), y + rng.uniform(0.1, 0.25))
        yield Surface(board, *_sample_paint(rng, 0.3, 0.9, (1, 1, 1), 0.2))
    tile, tile_nir = _sample_paint(rng, 0.38, 0.65, tint)
    yield Surface(_box(0, floor, WIDTH, HEIGHT), tile, tile_nir)
    yield Surface(_box(0, floor - 0.025, WIDTH, floor), *_sample_paint(rng, 0.2, 0.4, tint))
    yield from _tile_joints(floor, tile, tile_nir)
    for _ in range(rng.integers(0, 4)):
        x = float(rng.uniform(0, WIDTH))
        pillar, side = _box(x, 0, x + 0.16, floor + 0.03), _box(x + 0.16, 0, x + 0.2, floor + 0.03)
        colour, reflectance = _sample_paint(rng, 0.5, 0.8, tint)
        yield Surface(pillar, colour, reflectance)
        shaded = (colour[0] * 0.75, colour[1] * 0.75, colour[2] * 0.75)
        yield Surface(side, shaded, reflectance * 0.8)


def _tile_joints(floor: float, tile: tuple[float, float, float], tile_nir: float) -> Iterator[Surface]:
    """Yield the joints of floor tiles in perspective."""
    joint = ((tile[0] * 0.8, tile[1] * 0.8, tile[2] * 0.8), tile_nir * 0.8)
    for row in range(1, 7):
        y = floor + 0.012 * row * (row + 1)
        yield Surface(_box(0, y, WIDTH, y + 0.004), *joint)
    for x in np.arange(-1.0, WIDTH + 1, 0.25):
        lean = 0.25 * (x - WIDTH / 2)  # joints converge towards a point on the wall
        yield Surface(
            [(x, floor), (x + 0.006, floor), (x + lean + 0.01, HEIGHT), (x + lean, HEIGHT)], *joint
        )


def _door(rng: np.random.Generator, x: float, floor: float) -> Iterator[Surface]:
    """Yield a door with frame, handle and sometimes a pane."""
    tint = (1.0, float(rng.uniform(0.7, 0.95)), float(rng.uniform(0.5, 0.9)))
    top, width = floor - 0.78, float(rng.uniform(0.3, 0.4))
    yield Surface(
        _box(x - 0.02, top - 0.02, x + width + 0.02, floor), *_sample_paint(rng, 0.25, 0.5, tint)
    )
    yield Surface(_box(x, top, x + width, floor), *_sample_paint(rng, 0.3, 0.75, tint))
    if rng.random() < 0.5:
        pane = _box(x + 0.3 * width, top + 0.08, x + 0.7 * width, top + 0.35)
        yield Surface(pane, *_sample_paint(rng, 0.25, 0.6, (0.9, 1, 1)))
    handle = _box(x + 0.84 * width, top + 0.42, x + 0.92 * width, top + 0.45)
    yield Surface(handle, *_sample_paint(rng, 0.6, 0.8, (1, 1, 1)))


def _street(rng: np.random.Generator) -> Iterator[Surface]:
    """Yield sky, houses, trees and hedges, and a pavement with cars and poles."""
    kerb = float(rng.uniform(0.62, 0.85))
    yield Surface(_box(0, 0, WIDTH, HEIGHT), (0.72, 0.8, 0.9), 0.12)
    x = float(rng.uniform(-0.5, 0))
    while x < WIDTH:
        width = float(rng.uniform(0.5, 1.2))
        if rng.random() < 0.75:
            yield from _house(rng, x, width, kerb)
        x += width + float(rng.uniform(0, 0.2))
    yield Surface(_box(0, kerb, WIDTH, HEIGHT), *_sample_paint(rng, 0.4, 0.62, (1, 1, 0.98)))
    if rng.random() < 0.5:
        verge = _box(0, kerb, WIDTH, kerb + rng.uniform(0.03, 0.1))
        yield Surface(verge, (0.3, 0.42, 0.18), 0.7)
    for _ in range(rng.integers(1, 4)):
        yield from _leaves(rng, float(rng.uniform(0, WIDTH)), kerb - 0.05, 0.35, 0.09)
    for _ in range(rng.integers(1, 3)):
        yield from _car(rng, float(rng.uniform(0, WIDTH)), kerb + 0.02)
    for _ in range(rng.integers(1, 4)):
        x = float(rng.uniform(0, WIDTH))
        yield Surface(_box(x, 0.2, x + 0.06, kerb + 0.03), *_sample_paint(rng, 0.2, 0.3, (1, 0.85, 0.7)))
        yield from _leaves(rng, x + 0.03, 0.15, 0.3, 0.2)
    yield Surface(_box(0, kerb + 0.07, WIDTH, kerb + 0.085), *_sample_paint(rng, 0.65, 0.8, (1, 1, 1)))
    for _ in range(rng.integers(1, 5)):
        x = float(rng.uniform(0, WIDTH))
        yield Surface(_box(x, 0, x + 0.025, kerb + 0.06), *_sample_paint(rng, 0.2, 0.7, (1, 1, 1)))


def _house(rng: np.random.Generator, x: float, width: float, ground: float) -> Iterator[Surface]:
    """Yield a front with rows of windows."""
    top = float(rng.choice([-0.1, -0.1, 0.1, 0.3]))
    tint = (1.0, float(rng.uniform(0.78, 1.0)), float(rng.uniform(0.65, 1.0)))
    yield Surface(_box(x, top, x + width, ground), *_sample_paint(rng, 0.4, 0.9, tint))
    glass = _sample_paint(rng, 0.15, 0.45, (0.9, 1, 1.1))
    step, rise = float(rng.uniform(0.12, 0.2)), float(rng.uniform(0.18, 0.28))
    for left in np.arange(x + 0.06, x + width - 0.12, step):
        for y in np.arange(top + 0.08, ground - 0.15, rise):
            yield Surface(_box(left, y, left + 0.5 * step, y + 0.5 * rise), *glass)


def _leaves(rng: np.random.Generator, x: float, y: float, rx: float, ry: float) -> Iterator[Surface]:
    """Yield a tree crown or hedge made of many green patches."""
    hue = float(rng.uniform(0.5, 0.85))
    for k in range(220):
        # From large, dark patches behind to small, light ones in front.
        reach, angle = np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        level = float(rng.uniform(0.14, 0.26) + 0.2 * k / 220)
        radius = float(rng.uniform(0.03, 0.05) - 0.03 * k / 220)
        at = (x + rx * reach * float(np.cos(angle)), y + ry * reach * float(np.sin(angle)))
        outline = _oval(at[0], at[1], radius, 0.8 * radius)
        yield Surface(outline, (level * hue, level, 0.45 * level), 0.3 + level)


def _car(rng: np.random.Generator, x: float, y: float) -> Iterator[Surface]:
    """Yield a parked car in side view."""
    tint = tuple(float(t) for t in rng.uniform(0.4, 1.0, 3))
    body = _sample_paint(rng, 0.25, 0.9, (tint[0], tint[1], tint[2]))
    yield Surface(
        [(x + 0.15, y - 0.3), (x + 0.5, y - 0.3), (x + 0.62, y - 0.18), (x + 0.05, y - 0.18)], *body
    )
    window = [(x + 0.18, y - 0.28), (x + 0.48, y - 0.28), (x + 0.55, y - 0.19), (x + 0.12, y - 0.19)]
    yield Surface(window, (0.15, 0.18, 0.2), 0.1)
    yield Surface(_box(x, y - 0.18, x + 0.8, y - 0.04), *body)
    for wheel in (x + 0.16, x + 0.62):
        yield Surface(_oval(wheel, y - 0.04, 0.065, 0.065), (0.08, 0.08, 0.09), 0.15)
