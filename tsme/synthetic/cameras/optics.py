"""Image operations shared by all cameras.

Images are float arrays (height, width, channels) in 0..1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tsme.synthetic.people.shapes import Pose

FloatImage = NDArray[np.float32]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> FloatImage:
    """Return noise (height, width), roughly standard normal, interpolated from a grid of `cells`."""
    grid = rng.standard_normal(cells).astype(np.float32)
    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC))


def pixel_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> FloatImage:
    """Return independent normal noise for every pixel."""
    return sigma * rng.standard_normal(shape, dtype=np.float32)


def sample_muted_colour(rng: np.random.Generator) -> FloatImage:
    """Sample a background colour (3,) of any brightness and low saturation."""
    return np.clip(rng.uniform(0.15, 0.85) + rng.uniform(-0.1, 0.1, 3), 0, 1).astype(np.float32)


def blur(image: FloatImage, radius: float) -> FloatImage:
    """Apply a Gaussian blur of `radius` pixels to one or three channels, at 8 bits per channel."""
    pixels = to_uint8(image)
    pil_image = Image.fromarray(pixels if image.shape[2] == 3 else pixels[..., 0])
    blurred = np.asarray(pil_image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32)
    return blurred.reshape(image.shape) / np.float32(255)


def motion_blur(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """Average each pixel with its left and right neighbours."""
    blurred: NDArray[np.floating] = np.mean([np.roll(image, k, axis=1) for k in range(-1, 2)], axis=0)
    return blurred


def to_uint8(image: FloatImage) -> NDArray[np.uint8]:
    """Clip to 0..1 and round to 0..255."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def add_contact_shadow(image: FloatImage, pose: Pose, drift: float, strength: float) -> None:
    """Darken an ellipse around the feet in place; `drift` shifts it right, in image heights."""
    height = image.shape[0]
    centre = ((pose.x + drift) * height, pose.y * height)
    y, x = np.ogrid[:height, : image.shape[1]]
    inside = ((x - centre[0]) / (0.17 * height)) ** 2 + ((y - centre[1]) / (0.025 * height)) ** 2
    image *= (1 - strength * np.exp(-(inside**2)))[..., None].astype(np.float32)


def occlude(rng: np.random.Generator, image: FloatImage, tone: FloatImage) -> None:
    """Cover a post, the left or right edge, or a low wall with `tone`, in place."""
    height, width = image.shape[:2]
    kind = rng.integers(4)
    edge = int(rng.uniform(0.2, 0.34) * width)
    if kind == 0:
        left = int(rng.uniform(0.2, 0.7) * width)
        image[:, left : left + int(rng.uniform(0.06, 0.14) * width)] = tone
    elif kind == 1:
        image[:, :edge] = tone
    elif kind == 2:
        image[:, width - edge :] = tone
    else:
        image[int(rng.uniform(0.68, 0.85) * height) :] = tone
