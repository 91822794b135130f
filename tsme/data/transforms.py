"""Random augmentations, drawn once and applied alike to an image and its translation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tsme.data.images import grayscale

MEAN_PIXEL = (124, 116, 104)  # of ImageNet
ERASING_TRIES = 16  # rectangles drawn for each image; the first that fits is used


@dataclass(frozen=True)
class Augmentation:
    """Crops and horizontal flips of n images.

    `top` and `left` (n,) int64 in [0, 2 * padding] are the corner of the crop in the padded image;
    `mirror` (n,) bool.
    """

    padding: int
    top: Tensor
    left: Tensor
    mirror: Tensor

    @classmethod
    def draw(cls, count: int, padding: int, generator: torch.Generator) -> Augmentation:
        """Independent draws for `count` images."""
        span = 2 * padding + 1
        top = torch.randint(span, (count,), generator=generator)
        left = torch.randint(span, (count,), generator=generator)
        mirror = torch.randint(2, (count,), generator=generator).bool()
        return cls(padding, top, left, mirror)

    def apply(self, images: Tensor) -> Tensor:
        """Crop and mirror images (n, 3, h, w) of any type, on any device; the padding is black (0)."""
        h, w = images.shape[2:]
        padded = F.pad(images, [self.padding] * 4)
        sides = padded, padded.flip(3)
        draws = zip(self.top.tolist(), self.left.tolist(), self.mirror.tolist(), strict=True)
        # Stacking views of the crops takes a tenth of the time of indexing pixels.
        crops = []
        for image, (y, x, mirrored) in enumerate(draws):
            x = padded.shape[3] - w - x if mirrored else x  # the same columns, counted from the right
            crops.append(sides[mirrored][image, :, y : y + h, x : x + w])
        return torch.stack(crops)


def exchange_channels(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Replace each of the images (n, 3, h, w), with `probability`, by a single channel or the luminance.

    One of the four is drawn uniformly and repeated on all three channels. So the network cannot rely on
    colour, which infrared images do not have. Ye et al., ICCV 2021 (CAJ).
    """
    replaced = send(torch.rand(len(images), generator=generator) < probability, images.device)
    channel = send(torch.randint(4, (len(images),), generator=generator), images.device)
    planes = torch.cat([images, grayscale(images)[:, :1]], dim=1)  # (n, 4, h, w)
    chosen = planes[torch.arange(len(images), device=images.device), channel].unsqueeze(1)  # (n, 1, h, w)
    return torch.where(replaced[:, None, None, None], chosen, images)


def draw_erased(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """A random rectangle to erase in each of the images (n, 3, h, w), with `probability`.

    The result (n, 1, h, w) bool is true inside the rectangle. Its area is 2 to 40 % of the image, its
    height 0.3 to 3.33 times its width. Zhong et al., AAAI 2020 (random erasing).
    """
    n, _, h, w = images.shape
    area, ratio = torch.rand(2, n, ERASING_TRIES, generator=generator)
    area, ratio = (0.02 + 0.38 * area) * h * w, 0.3 + (1 / 0.3 - 0.3) * ratio
    high, wide = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()  # (n, ERASING_TRIES)
    fits = (high < h) & (wide < w)
    first = fits.int().argmax(1, keepdim=True)
    high, wide = high.gather(1, first), wide.gather(1, first)  # (n, 1)
    where, chosen = torch.rand(2, n, 1, generator=generator), torch.rand(n, 1, generator=generator)
    top, left = ((h - high + 1) * where[0]).floor(), ((w - wide + 1) * where[1]).floor()
    y, x = torch.arange(h), torch.arange(w)
    down, across = (y >= top) & (y < top + high), (x >= left) & (x < left + wide)  # (n, h), (n, w)
    erased = fits.any(1, keepdim=True) & (chosen < probability)
    mask = down[:, :, None] & across[:, None, :] & erased[:, :, None]
    return send(mask.unsqueeze(1), images.device)


def erase(images: Tensor, erased: Tensor) -> Tensor:
    """Images (n, 3, h, w) uint8 with ImageNet's mean colour where `erased` (n, 1, h, w) is true."""
    mean = send(torch.tensor(MEAN_PIXEL, dtype=images.dtype), images.device)
    return torch.where(erased, mean[:, None, None], images)


def take(images: Tensor, rows: NDArray[np.int64]) -> Tensor:
    """The images at these rows, on the device of `images`."""
    return images[send(torch.from_numpy(rows), images.device)]


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device, without waiting for work queued on the device."""
    if tensor.device.type == device.type or device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_range(pixels: Tensor) -> Tensor:
    """Convert uint8 pixels 0..255 to float32 in [-1, 1], the input of all networks."""
    return pixels.to(torch.float32, copy=True).div_(127.5).sub_(1)


def to_pixels(images: Tensor) -> Tensor:
    """Convert images in [-1, 1] to uint8 pixels."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
