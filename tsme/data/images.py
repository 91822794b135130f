"""Decoding of image files."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from tsme.errors import UserError

MAX_PIXELS = 25_000_000  # of an image that a stranger sends
UPLOAD_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
READ_AHEAD = 256  # files decoded before they are consumed
# Pillow's decoders raise these for damaged files, depending on the format.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def open_image(path: Path) -> Image.Image:
    """The decoded RGB image at `path`, upright. Raises UserError naming the file and the reason."""
    try:
        with Image.open(path) as image:
            return _upright_rgb(image)
    except _DECODE_ERRORS as error:
        raise UserError(f"{path}: cannot be read as an image ({_reason(error)}); restore it") from error


def decode_image(content: bytes) -> Image.Image:
    """The RGB image, upright, in the bytes of a file that a stranger sends: of a common format only.

    Raises UserError if it is none, or if its header announces more than MAX_PIXELS.
    """
    try:
        with Image.open(io.BytesIO(content), formats=UPLOAD_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width} x {image.height} pixels"
                raise UserError(
                    f"the image has {size}; at most {MAX_PIXELS / 1e6:g} million are accepted"
                )
            return _upright_rgb(image)
    except UserError:
        raise
    except _DECODE_ERRORS as error:
        known = ", ".join(UPLOAD_FORMATS)
        raise UserError(f"not a readable image ({_reason(error)}); send {known}") from error


def _upright_rgb(image: Image.Image) -> Image.Image:
    # Pillow would clip these to 255 and return a white image.
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"more than 8 bits per channel, mode {image.mode}; convert it")
    # Phones store the sensor's image and its orientation separately.
    return ImageOps.exif_transpose(image).convert("RGB")


def _reason(error: Exception) -> str:
    """What Pillow says; some of its messages repeat the path."""
    unknown = isinstance(error, UnidentifiedImageError)
    return "unknown format" if unknown else str(getattr(error, "strerror", None) or error)


def decode(files: Sequence[Path], height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the pixels (3, height, width) of every file, uint8 RGB, resized by Lanczos.

    Raises UserError naming the first file that is missing or damaged.
    """
    # Decoding releases the interpreter lock, so threads suffice. In chunks, as images stay in memory
    # until they are consumed.
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(files), READ_AHEAD):
            chunk = files[first : first + READ_AHEAD]
            yield from pool.map(lambda file: pixels(open_image(file), height, width), chunk)


def grayscale(images: Tensor) -> Tensor:
    """Luminance (ITU-R BT.601) of RGB images (..., 3, h, w), repeated on all three channels.

    Shape and dtype are kept; integer images are rounded to the nearest value.
    """
    assert images.shape[-3] == 3, images.shape
    red, green, blue = images.unbind(-3)
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    if not images.is_floating_point():
        luminance = luminance.round()
    # A copy, so that the channels do not share memory.
    return luminance.to(images.dtype).unsqueeze(-3).expand_as(images).contiguous()


def pixels(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """Pixels (3, height, width) of an RGB image, resized by Lanczos where its size differs."""
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(image).transpose(2, 0, 1)
