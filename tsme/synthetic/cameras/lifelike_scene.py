"""Lifelike backgrounds of a roaming camera: one scene whose surfaces have a colour and a temperature.

Known: a clear sky is much colder than anything else to a thermal camera; walls, ground and plants are
near the temperature of the air; window panes reflect the sky; sunlit ground and parked cars are warmer.
Guessed: the ranges, and how often each occurs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tsme.synthetic.cameras.optics import FloatImage, blur, sample_muted_colour, smooth_noise


class Panel(NamedTuple):
    """A rectangle in fractions of the image, with a colour (3,) and a thermal tone."""

    left: float
    top: float
    right: float
    bottom: float
    colour: FloatImage
    temperature: float


def visible_scene(rng: np.random.Generator, shape: tuple[int, int]) -> FloatImage:
    """Return the scene (height, width, 3) with a light gradient and texture."""
    scene = np.zeros((*shape, 3), dtype=np.float32)
    for panel in _sample_panels(rng):
        scene[_area(panel, shape)] = panel.colour
    y, x = np.linspace(0, 1, shape[0], dtype=np.float32), np.linspace(0, 1, shape[1], dtype=np.float32)
    slope = rng.uniform(-0.35, 0.35) * (x - 0.5) + (rng.uniform(-0.3, 0.3) * (y - 0.5))[:, None]
    texture = 0.06 * smooth_noise(rng, shape, (12, 6)) + 0.03 * smooth_noise(rng, shape, (48, 24))
    lit: FloatImage = np.clip(scene * (1 + slope + texture)[..., None], 0, 1).astype(np.float32)
    return lit


def thermal_scene(rng: np.random.Generator, shape: tuple[int, int]) -> FloatImage:
    """Return the scene (height, width, 1), blurred; the same `rng` gives the same panels."""
    scene = np.zeros((*shape, 1), dtype=np.float32)
    for panel in _sample_panels(rng):
        scene[_area(panel, shape)] = panel.temperature
    uneven = 0.015 * smooth_noise(rng, shape, (8, 4))[..., None]
    clipped: FloatImage = np.clip(blur(scene, 0.015 * shape[0]) + uneven, 0, 1).astype(np.float32)
    return clipped


def _area(panel: Panel, shape: tuple[int, int]) -> tuple[slice, slice]:
    height, width = shape
    top, bottom = (int(np.clip(y, 0, 1) * height) for y in (panel.top, panel.bottom))
    left, right = (int(np.clip(x, 0, 1) * width) for x in (panel.left, panel.right))
    return slice(top, bottom), slice(left, right)


def _sample_panels(rng: np.random.Generator) -> Iterator[Panel]:
    """Yield sky or wall, ground, and what stands on it, from back to front."""
    horizon = float(rng.uniform(0.5, 0.85))
    wall = float(rng.uniform(0.13, 0.22))
    if rng.random() < 0.3:
        haze = float(rng.uniform(0.6, 0.9))
        sky = np.array([0.85 * haze, 0.95 * haze, haze], dtype=np.float32)
        yield Panel(0, 0, 1, horizon, sky, float(rng.uniform(0.01, 0.06)))
        roofs = horizon - float(rng.uniform(0.05, 0.4))
        yield Panel(0, roofs, float(rng.uniform(0.3, 1)), horizon, sample_muted_colour(rng), wall)
    else:
        yield Panel(0, 0, 1, horizon, sample_muted_colour(rng), wall)
    yield Panel(0, horizon, 1, 1, sample_muted_colour(rng), wall + float(rng.uniform(-0.02, 0.1)))
    for _ in range(rng.integers(1, 6)):
        left, top = float(rng.uniform(-0.3, 1.0)), float(rng.uniform(-0.2, horizon))
        right = left + float(rng.uniform(0.05, 0.6))
        bottom = float(rng.choice([horizon, top + rng.uniform(0.05, 0.5)]))
        yield Panel(left, top, right, bottom, *_sample_material(rng, wall))
    for _ in range(rng.integers(0, 3)):
        middle, half = float(rng.uniform(0, 1)), float(rng.uniform(0.01, 0.05))
        foot, tone = float(rng.uniform(horizon, 1.0)), wall + float(rng.uniform(-0.04, 0.04))
        yield Panel(middle - half, 0, middle + half, foot, sample_muted_colour(rng), tone)


def _sample_material(rng: np.random.Generator, wall: float) -> tuple[FloatImage, float]:
    """Sample colour and temperature of a board, window, bush, car or radiator."""
    kind = rng.choice(["board", "window", "bush", "car", "radiator"], p=[0.4, 0.25, 0.15, 0.15, 0.05])
    colour, vary = sample_muted_colour(rng), float(rng.uniform(-1, 1))
    match kind:
        case "window":
            return 0.4 * colour, 0.1 + 0.05 * vary
        case "bush":
            return (0.6 * colour * np.array([0.6, 1.0, 0.4])).astype(np.float32), 0.16 + 0.02 * vary
        case "car":
            return colour, 0.24 + 0.1 * vary
        case "radiator":
            return np.clip(colour + 0.2, 0, 1), 0.38 + 0.1 * vary
        case _:
            return colour, wall + 0.03 * vary
