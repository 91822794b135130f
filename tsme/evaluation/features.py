"""Descriptors of images from a trained network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tsme.config import Precision
from tsme.data.augment import send, to_range
from tsme.data.records import MODALITIES, Modality
from tsme.models.inference import CHUNK, autocast, folded
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
    precision: Precision = "float32",
) -> Tensor:
    """Descriptors (n, d) float32 on the CPU of uint8 images (n, 3, H, W) and their translations.

    As in evaluation mode, whatever mode the network is in; no augmentation. With `flip`, each stripe's
    embedding is the mean of the image's and its mirror image's, of length 1 again.
    """
    ready = folded(network)
    chunks = []
    for image, translation in zip(images.split(CHUNK), translations.split(CHUNK), strict=True):
        real, translated = to_range(send(image, device)), to_range(send(translation, device))
        with autocast(device, precision):
            described = ready.describe(real, translated, modality)
            if flip:
                mirrored = ready.describe(real.flip(-1), translated.flip(-1), modality)
                described = _mean(described, mirrored)
        chunks.append(described)
    return torch.cat(chunks).cpu()


def extract_all(
    network: TsmeNet,
    images: Mapping[Modality, Tensor],
    translations: Mapping[Modality, Tensor],
    device: torch.device,
    *,
    flip: bool = False,
    precision: Precision = "float32",
) -> Descriptors:
    """`extract` of both modalities' images."""
    ready = folded(network)

    def descriptors(m: Modality) -> Tensor:
        return extract(ready, images[m], translations[m], m, device, flip=flip, precision=precision)

    return {modality: descriptors(modality).numpy() for modality in MODALITIES}


def _mean(one: Tensor, other: Tensor) -> Tensor:
    """The mean of two descriptors (B, S E), stripe by stripe of length 1."""
    total = (one + other).unflatten(1, (FUSED_STRIPES, -1))  # (B, S, E)
    return F.normalize(total, dim=2).flatten(1)
