"""Descriptors of images from a trained network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tsme.data.augment import to_range
from tsme.data.records import MODALITIES, Modality
from tsme.models.reid import FUSED_STRIPES, TsmeNet

Descriptors = dict[Modality, NDArray[np.float32]]


@torch.inference_mode()
def extract(
    network: TsmeNet,
    images: Tensor,
    translations: Tensor,
    modality: Modality,
    device: torch.device,
    *,
    flip: bool = False,
) -> Tensor:
    """Descriptors (n, d) float32 on the CPU of uint8 images (n, 3, H, W) and their translations.

    Evaluation mode, no augmentation; the network is returned to the mode it came in. With `flip`, each
    stripe's embedding is the mean of the image's and its mirror image's, of length 1 again.
    """
    training = network.training
    network.eval()
    chunks = []
    for image, translation in zip(images.split(64), translations.split(64), strict=True):
        real, translated = to_range(image).to(device), to_range(translation).to(device)
        described = network.describe(real, translated, modality)
        if flip:
            mirrored = network.describe(real.flip(-1), translated.flip(-1), modality)
            described = _mean(described, mirrored)
        chunks.append(described.float().cpu())
    network.train(training)
    return torch.cat(chunks)


def extract_all(
    network: TsmeNet,
    images: Mapping[Modality, Tensor],
    translations: Mapping[Modality, Tensor],
    device: torch.device,
    *,
    flip: bool = False,
) -> Descriptors:
    """`extract` of both modalities' images."""
    return {
        m: extract(network, images[m], translations[m], m, device, flip=flip).numpy() for m in MODALITIES
    }


def _mean(one: Tensor, other: Tensor) -> Tensor:
    """The mean of two descriptors (B, S E), stripe by stripe of length 1."""
    total = (one + other).unflatten(1, (FUSED_STRIPES, -1))  # (B, S, E)
    return F.normalize(total, dim=2).flatten(1)
