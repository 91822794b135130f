"""Augmentation as published: Pillow, one image after another."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import functional as transforms


def augment(
    pictures: list[NDArray[np.uint8]], padding: int, draws: list[tuple[int, int, bool]]
) -> Tensor:
    """Pad, crop and mirror pictures (H, W, 3): float (n, 3, H, W) in [-1, 1].

    `draws` are top and left of each crop in its padded picture, and whether it is mirrored.
    """
    images = []
    for picture, (top, left, mirror) in zip(pictures, draws, strict=True):
        height, width = picture.shape[:2]
        image = ImageOps.expand(Image.fromarray(picture), border=padding, fill=0)
        image = image.crop((left, top, left + width, top + height))
        if mirror:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        tensor = transforms.to_tensor(image)
        images.append(transforms.normalize(tensor, [0.5] * 3, [0.5] * 3))
    return torch.stack(images)
