"""Picture arithmetic that all kinds of camera share.

Pictures are float arrays (height, width, channels) in 0..1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tsme.synthetic.people.sketch import Pose

Picture = NDArray[np.float32]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> Picture:
    """Random values (height, width), about normal, interpolated from a grid of `cells`."""
    grid = rng.standard_normal(cells).astype(np.float32)
    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC))


def noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Picture:
    """Noise of every pixel by itself."""
    return sigma * rng.standard_normal(shape, dtype=np.float32)


def muted(rng: np.random.Generator) -> Picture:
    """A background colour (3,): any brightness, little saturation."""
    return np.clip(rng.uniform(0.15, 0.85) + rng.uniform(-0.1, 0.1, 3), 0, 1).astype(np.float32)


def blur(picture: Picture, radius: float) -> Picture:
    """Blurred with a Gaussian of `radius` pixels; one or three channels, 8 bits deep."""
    pixels = eight_bit(picture)
    image = Image.fromarray(pixels if picture.shape[2] == 3 else pixels[..., 0])
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32)
    return blurred.reshape(picture.shape) / np.float32(255)


def smear(picture: NDArray[np.floating]) -> NDArray[np.floating]:
    """Blurred sideways over three pixels, as by motion."""
    smeared: NDArray[np.floating] = np.mean([np.roll(picture, k, axis=1) for k in range(-1, 2)], axis=0)
    return smeared


def eight_bit(picture: Picture) -> NDArray[np.uint8]:
    """Clipped to 0..1 and rounded to 0..255."""
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def ground_shadow(picture: Picture, pose: Pose, drift: float, strength: float) -> None:
    """Darken an ellipse about the feet, `drift` picture heights to their right, in place."""
    height = picture.shape[0]
    centre = ((pose.x + drift) * height, pose.y * height)
    y, x = np.ogrid[:height, : picture.shape[1]]
    inside = ((x - centre[0]) / (0.17 * height)) ** 2 + ((y - centre[1]) / (0.025 * height)) ** 2
    picture *= (1 - strength * np.exp(-(inside**2)))[..., None].astype(np.float32)


def occlude(rng: np.random.Generator, picture: Picture, tone: Picture) -> None:
    """Put a post, a side or a low wall of `tone` in front of the person, in place."""
    height, width = picture.shape[:2]
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
