"""Descriptors of images from a trained network."""

from __future__ import annotations

import torch
from torch import Tensor

from tsme.data.augment import to_range
from tsme.data.records import Modality
from tsme.models.reid import TsmeNet


@torch.inference_mode()
def extract(
    network: TsmeNet, images: Tensor, translations: Tensor, modality: Modality, device: torch.device
) -> Tensor:
    """Descriptors (n, d) float32 on the CPU of uint8 images (n, 3, H, W) and their translations.

    Evaluation mode, no augmentation; the network is returned to the mode it came in.
    """
    training = network.training
    network.eval()
    chunks = []
    for image, translation in zip(images.split(64), translations.split(64), strict=True):
        pair = to_range(image).to(device), to_range(translation).to(device)
        chunks.append(network.describe(*pair, modality).float().cpu())
    network.train(training)
    return torch.cat(chunks)
