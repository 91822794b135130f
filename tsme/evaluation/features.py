"""Embeddings of images by a trained network.

Shapes: n images, B of a chunk, S stripes, E embedding per stripe, d = S E.
"""

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
from tsme.models.checkpoint import TrialModel
from tsme.models.inference import CHUNK, folded
from tsme.models.reid import TsmeNet
from tsme.models.translate import translate
from tsme.numerics import reproducible

Embeddings = dict[Modality, NDArray[np.float32]]


@torch.inference_mode()
def embed_images(
    network: TsmeNet,
    images: Tensor,
    translations: Tensor | None,
    modality: Modality,
    device: torch.device,
    *,
    flip: bool = False,
    precision: Precision = "float32",
) -> Tensor:
    """Embeddings (n, d) float32 on the CPU of images and their translations, uint8 (n, 3, H, W).

    The network works in evaluation mode, whatever mode it is in, without augmentation. With `flip`,
    each stripe's embedding is the mean of the image's and its mirror image's, normalised again.
    """
    ready = folded(network)

    def embed(image: Tensor, translation: Tensor | None = None) -> Tensor:
        return ready.embed(image, translation, modality)

    sources = [x.split(CHUNK) for x in (images, translations) if x is not None]
    embeddings = []
    for chunks in zip(*sources, strict=True):
        inputs = [to_range(send(chunk, device)) for chunk in chunks]
        with reproducible(device, precision):
            embedding = embed(*inputs)
            if flip:
                embedding = _mean(embedding, embed(*(x.flip(-1) for x in inputs)), network.stripes)
        embeddings.append(embedding)
    return torch.cat(embeddings).cpu()


def embed_pixels(model: TrialModel, images: Tensor, modality: Modality, device: torch.device) -> Tensor:
    """Embeddings (n, d) of images uint8 (n, 3, H, W) that the model's generators translate first."""
    translations = None
    if model.generators is not None:
        translations = translate(model.generators, images, modality, device)
    return embed_images(model.network, images, translations, modality, device)


def embed_split(
    network: TsmeNet,
    images: Mapping[Modality, Tensor],
    translations: Mapping[Modality, Tensor] | None,
    device: torch.device,
    *,
    flip: bool = False,
    precision: Precision = "float32",
) -> Embeddings:
    """`embed_images` for both modalities."""
    ready = folded(network)

    def embed(m: Modality) -> Tensor:
        translated = None if translations is None else translations[m]
        return embed_images(ready, images[m], translated, m, device, flip=flip, precision=precision)

    return {modality: embed(modality).numpy() for modality in MODALITIES}


def _mean(one: Tensor, other: Tensor, stripes: int) -> Tensor:
    """The mean of two embeddings (B, d), normalised to length 1 stripe by stripe."""
    total = (one + other).unflatten(1, (stripes, -1))  # (B, S, E)
    return F.normalize(total, dim=2).flatten(1)
