"""Images from files to tensors."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from tsme.errors import UserError

AHEAD = 256  # files decoded before they are asked for
# What Pillow's decoders raise on damaged files, by format.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def open_image(path: Path) -> Image.Image:
    """The fully decoded RGB image at `path`, upright; raises UserError naming the file and the reason."""
    try:
        with Image.open(path) as image:
            # Pillow would clip these to 255 and hand back a white picture.
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"pixels of more than 8 bits, mode {image.mode}; convert it")
            # Phones store pictures as the sensor lay and note how it was held.
            return ImageOps.exif_transpose(image).convert("RGB")
    except _DAMAGED as problem:
        # Some of their texts would repeat the path.
        unknown = isinstance(problem, UnidentifiedImageError)
        reason = "unknown format" if unknown else getattr(problem, "strerror", None) or problem
        raise UserError(f"{path}: cannot be read as an image ({reason}); restore it") from problem


def decode(files: Sequence[Path], height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """The pixels (3, height, width) of every file in turn, RGB, resized bilinearly.

    Raises UserError naming the first file that is missing or damaged.
    """
    # Decoding releases the interpreter lock, so threads suffice. Some at a time: all that are asked for
    # are kept until they are taken.
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(files), AHEAD):
            some = files[first : first + AHEAD]
            yield from pool.map(lambda file: pixels(open_image(file), height, width), some)


def grayscale(images: Tensor) -> Tensor:
    """Luminance (ITU-R BT.601) of RGB images (..., 3, h, w), repeated on the three channels.

    Shape and dtype are kept; integer images are rounded to the nearest value.
    """
    assert images.shape[-3] == 3, images.shape
    red, green, blue = images.unbind(-3)
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    if not images.is_floating_point():
        luminance = luminance.round()
    # Copied, so that writing to one channel of the result leaves the others alone.
    return luminance.to(images.dtype).unsqueeze(-3).expand_as(images).contiguous()


def pixels(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """Pixels (3, height, width) of an RGB image, resized bilinearly where its size differs."""
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)
