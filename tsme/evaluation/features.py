"""Descriptors of images from a trained network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tsme.config import Precision
from tsme.data.transforms import send, to_range
from tsme.data.types import MODALITIES, Modality
from tsme.models.inference import CHUNK, folded
from tsme.models.reid import FUSED_STRIPES, TsmeNet
from tsme.numerics import reproducible

Descriptors = dict[Modality, NDArray[np.float32]]


@torch.inference_mode()
def extract(
    network: TsmeNet,
    images: Tensor,
    translations: Tensor | None,
    modality: Modality,
    device: torch.device,
    *,
    flip: bool = False,
    precision: Precision = "float32",
) -> Tensor:
    """Descriptors (n, d) float32 on the CPU of uint8 images (n, 3, H, W) and their translations, if any.

    As in evaluation mode, whatever mode the network is in; no augmentation. With `flip`, each stripe's
    embedding is the mean of the image's and its mirror image's, of length 1 again.
    """
    ready = folded(network)

    def embed(image: Tensor, translation: Tensor | None = None) -> Tensor:
        return ready.embed(image, translation, modality)

    sources = [x.split(CHUNK) for x in (images, translations) if x is not None]
    described = []
    for chunks in zip(*sources, strict=True):
        both = [to_range(send(chunk, device)) for chunk in chunks]
        with reproducible(device, precision):
            features = embed(*both)
            if flip:
                features = _mean(features, embed(*(x.flip(-1) for x in both)))
        described.append(features)
    return torch.cat(described).cpu()


def extract_all(
    network: TsmeNet,
    images: Mapping[Modality, Tensor],
    translations: Mapping[Modality, Tensor] | None,
    device: torch.device,
    *,
    flip: bool = False,
    precision: Precision = "float32",
) -> Descriptors:
    """`extract` of both modalities' images."""
    ready = folded(network)

    def descriptors(m: Modality) -> Tensor:
        translated = None if translations is None else translations[m]
        return extract(ready, images[m], translated, m, device, flip=flip, precision=precision)

    return {modality: descriptors(modality).numpy() for modality in MODALITIES}


def _mean(one: Tensor, other: Tensor) -> Tensor:
    """The mean of two descriptors (B, S E), stripe by stripe of length 1."""
    total = (one + other).unflatten(1, (FUSED_STRIPES, -1))  # (B, S, E)
    return F.normalize(total, dim=2).flatten(1)
