"""Frozen translators at work: pixels in, pixels out."""

from __future__ import annotations

import torch
from torch import Tensor

from tsme.data.augment import to_pixels, to_range
from tsme.data.images import grey
from tsme.data.records import Modality
from tsme.models.dsgan import Generator, Translators


@torch.no_grad()
def translate(
    translators: Translators, images: Tensor, modality: Modality, device: torch.device
) -> Tensor:
    """Images of `modality`, uint8 (n, 3, H, W), to the other modality, same type and shape.

    Visible images are turned grey first, as in training. The generators run in evaluation mode, so
    an image's translation does not depend on its neighbours.
    """
    network: Generator = translators.to_infrared if modality == "visible" else translators.to_visible
    network.eval()
    translations = torch.empty_like(images)
    for source, target in zip(images.split(64), translations.split(64), strict=True):
        chunk = grey(source) if modality == "visible" else source
        target.copy_(to_pixels(network(to_range(chunk).to(device))))
    return translations
