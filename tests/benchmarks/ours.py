"""This code's side of the benchmarks, called as training and evaluation call it.

The one place that knows how lower precision is asked for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tsme.config import Config, Precision
from tsme.data.transforms import Augmentation, to_range
from tsme.data.types import Modality
from tsme.evaluation.features import embed_images
from tsme.models.dsgan import Generators
from tsme.models.reid import TsmeNet
from tsme.models.translate import translate
from tsme.settings import override


def computing_in(precision: Precision, config: Config) -> Config:
    """The configuration with both stages' networks computing in this precision."""
    return override(config, {"dsgan.precision": precision, "reid.precision": precision})


def describe_stored(
    network: TsmeNet,
    images: Tensor,
    translations: Tensor,
    modality: Modality,
    device: torch.device,
    precision: Precision = "float32",
) -> Tensor:
    """Embeddings (n, d) of uint8 images and their stored translations, (n, 3, H, W) each."""
    return embed_images(network, images, translations, modality, device, precision=precision)


def embed(
    network: TsmeNet,
    generators: Generators,
    images: Tensor,
    modality: Modality,
    device: torch.device,
) -> Tensor:
    """Embeddings (n, d) of uint8 images (n, 3, H, W), translated on the way."""
    translations = translate(generators, images, modality, device)
    return describe_stored(network, images, translations, modality, device)


def augment(sources: list[Tensor], augmentation: Augmentation) -> list[Tensor]:
    """Images and their translations, uint8 (n, 3, H, W), cropped and mirrored alike, in [-1, 1]."""
    return [to_range(augmentation.apply(source)) for source in sources]
