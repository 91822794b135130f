"""What surrounds a person, and what each sensor does to the picture.

Pictures here are float arrays (height, width, channels) in 0..1; visible has three channels,
thermal one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tsme.data.synth.person import Modality

Picture = NDArray[np.float32]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> Picture:
    """Random values (height, width), about normal, interpolated from a grid of `cells`."""
    grid = rng.standard_normal(cells).astype(np.float32)
    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC))


def background(rng: np.random.Generator, modality: Modality, shape: tuple[int, int]) -> Picture:
    """A scene without the person."""
    return _street(rng, shape) if modality == "visible" else _cool_scene(rng, shape)


def _street(rng: np.random.Generator, shape: tuple[int, int]) -> Picture:
    """A wall or sky over the ground, with panels, poles, light gradient and texture."""
    height, width = shape
    y, x = np.mgrid[0:1:height*1j, 0:1:width*1j].astype(np.float32)  # fmt: skip
    horizon = rng.uniform(0.5, 0.85)
    wall, ground = _muted(rng), _muted(rng)
    scene = np.where((y < horizon)[..., None], wall, ground).astype(np.float32)
    for _ in range(rng.integers(1, 6)):
        left, top = rng.uniform(-0.3, 1.0), rng.uniform(-0.2, horizon)
        right = left + rng.uniform(0.05, 0.6)
        bottom = rng.choice([horizon, top + rng.uniform(0.05, 0.5)])
        scene[(x > left) & (x < right) & (y > top) & (y < bottom)] = _muted(rng)
    for _ in range(rng.integers(0, 3)):
        middle, half = rng.uniform(0, 1), rng.uniform(0.01, 0.05)
        foot = rng.uniform(horizon, 1.0)
        scene[(np.abs(x - middle) < half) & (y < foot)] = _muted(rng)
    slope = rng.uniform(-0.35, 0.35) * (x - 0.5) + rng.uniform(-0.3, 0.3) * (y - 0.5)
    texture = 0.06 * smooth_noise(rng, shape, (12, 6)) + 0.03 * smooth_noise(rng, shape, (48, 24))
    lit: Picture = np.clip(scene * (1 + slope + texture)[..., None], 0, 1).astype(np.float32)
    return lit


def _muted(rng: np.random.Generator) -> Picture:
    """A background colour: any brightness, little saturation."""
    return np.clip(rng.uniform(0.15, 0.85) + rng.uniform(-0.1, 0.1, 3), 0, 1).astype(np.float32)


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


def shadow(scene: Picture, centre: tuple[float, float], half: tuple[float, float]) -> None:
    """Darken an ellipse (pixels) of `scene` in place."""
    y, x = np.ogrid[: scene.shape[0], : scene.shape[1]]
    inside = ((x - centre[0]) / half[0]) ** 2 + ((y - centre[1]) / half[1]) ** 2
    scene *= (1 - 0.45 * np.exp(-(inside**2)))[..., None].astype(np.float32)


def occlude(rng: np.random.Generator, picture: Picture, modality: Modality) -> None:
    """Put a post, a side or a low wall in front of the person, in place."""
    height, width = picture.shape[:2]
    tone = _muted(rng) if modality == "visible" else np.float32(rng.uniform(0.08, 0.3))
    kind = rng.integers(4)
    edge = int(rng.uniform(0.2, 0.34) * width)
    if kind == 0:
        left = int(rng.uniform(0.2, 0.7) * width)
        picture[:, left : left + int(rng.uniform(0.06, 0.14) * width)] = tone
    elif kind == 1:
        picture[:, :edge] = tone
    elif kind == 2:
        picture[:, width - edge :] = tone
    else:
        picture[int(rng.uniform(0.68, 0.85) * height) :] = tone


def expose(rng: np.random.Generator, picture: Picture, modality: Modality) -> Image.Image:
    """The sensor: light or gain, blur and noise; the result is an 8-bit RGB image."""
    develop = _camera if modality == "visible" else _thermal_camera
    return Image.fromarray(_eight_bit(develop(rng, picture)))


def _blur(picture: Picture, radius: float) -> Picture:
    pixels = _eight_bit(picture)
    image = Image.fromarray(pixels if picture.shape[2] == 3 else pixels[..., 0])
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32)
    return blurred.reshape(picture.shape) / np.float32(255)


def _eight_bit(picture: Picture) -> NDArray[np.uint8]:
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _camera(rng: np.random.Generator, picture: Picture) -> Picture:
    gain, gamma = rng.uniform(0.7, 1.2), rng.uniform(0.8, 1.3)
    cast = 1 + rng.uniform(-0.06, 0.06, 3)
    lit = np.clip(picture * gain * cast, 0, 1) ** gamma
    if rng.random() < 0.3:
        shifts = range(-1, 2)
        lit = np.mean([np.roll(lit, shift, axis=1) for shift in shifts], axis=0)
    blurred = _blur(lit.astype(np.float32), float(rng.uniform(0.1, 0.9)))
    return blurred + _noise(rng, picture.shape, rng.uniform(0.008, 0.035))


def _thermal_camera(rng: np.random.Generator, picture: Picture) -> Picture:
    """Low contrast and soft; the automatic gain drifts but never swaps warm and cool."""
    gain, offset = rng.uniform(0.68, 1.0), rng.uniform(-0.03, 0.16)
    soft = _blur(picture, float(rng.uniform(0.6, 1.3))) ** rng.uniform(0.85, 1.2)
    drift = 0.02 * smooth_noise(rng, picture.shape[:2], (4, 3))[..., None]
    columns = rng.normal(0, 0.008, (1, picture.shape[1], 1))
    noise = _noise(rng, picture.shape, rng.uniform(0.008, 0.025))
    return np.repeat(gain * soft + offset + drift + columns + noise, 3, axis=2)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Picture:
    return sigma * rng.standard_normal(shape, dtype=np.float32)
