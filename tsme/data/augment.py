"""Random crops and flips, drawn once and applied alike to an image and its translation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tsme.data.images import grey


@dataclass(frozen=True)
class Augmentation:
    """For each of n images: where its crop starts in the padded image, and whether it is mirrored.

    `top` and `left` (n,) int64 in [0, 2 * padding]; `mirror` (n,) bool.
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
        """Crop and mirror (n, 3, h, w) images of any type; what lies outside is black (0)."""
        n, _, h, w = images.shape
        padded = F.pad(images, [self.padding] * 4)
        rows = self.top[:, None] + torch.arange(h)  # (n, h)
        columns = self.left[:, None] + torch.arange(w)  # (n, w)
        columns = torch.where(self.mirror[:, None], columns.flip(1), columns)
        image = torch.arange(n)[:, None, None]
        # Indexing with a slice between index tensors moves channels last: (n, h, w, 3).
        picked = padded[image, :, rows[:, :, None], columns[:, None, :]]
        return picked.permute(0, 3, 1, 2)


def exchange_channels(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Replace images (n, 3, h, w), each with `probability`, by one of their channels or luminance.

    Which of the four is drawn with equal chances, and repeated on all three channels; so colour, which
    infrared images do not have, stops being a way to tell people apart. Ye et al., ICCV 2021 (CAJ).
    """
    replaced = torch.rand(len(images), generator=generator) < probability
    channel = torch.randint(4, (len(images),), generator=generator)
    planes = torch.cat([images, grey(images)[:, :1]], dim=1)  # (n, 4, h, w)
    chosen = planes[torch.arange(len(images)), channel].unsqueeze(1)  # (n, 1, h, w)
    return torch.where(replaced[:, None, None, None], chosen, images)


def to_range(pixels: Tensor) -> Tensor:
    """uint8 pixels 0..255 to float32 in [-1, 1], what all networks take."""
    return pixels.float() / 127.5 - 1


def to_pixels(images: Tensor) -> Tensor:
    """Images in [-1, 1] to uint8 pixels."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
