"""Translation of images by frozen generators."""

from __future__ import annotations

import torch
from torch import Tensor

from tsme.config import Precision
from tsme.data.images import grayscale
from tsme.data.transforms import send, to_pixels, to_range
from tsme.data.types import Modality
from tsme.models.dsgan import Generator, Generators
from tsme.models.inference import CHUNK, folded
from tsme.numerics import reproducible


@torch.no_grad()
def translate(
    generators: Generators,
    images: Tensor,
    modality: Modality,
    device: torch.device,
    *,
    precision: Precision = "float32",
) -> Tensor:
    """Images of `modality`, uint8 (n, 3, H, W), to the other modality, same type and shape.

    Images are converted to grayscale first, as in training. The generators run in evaluation mode, so an
    image's translation does not depend on the others.
    """
    network: Generator = (
        generators.visible_to_infrared if modality == "visible" else generators.infrared_to_visible
    )
    ready = folded(network)
    translations = torch.empty_like(images)
    for source, target in zip(images.split(CHUNK), translations.split(CHUNK), strict=True):
        chunk = grayscale(send(source, device))
        with reproducible(device, precision):
            target.copy_(to_pixels(ready(to_range(chunk))))
    return translations
