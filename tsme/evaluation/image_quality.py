"""How good translations are: against the true other-modality image where it is known, and as a set.

Images are uint8 (n, 3, H, W); of visible ones the luminance counts, which is what generators deal in.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tsme.data.datasets.ground_truth import load_ground_truth
from tsme.data.image_cache import ImageCache
from tsme.data.images import grayscale
from tsme.data.transforms import send, to_pixels, to_range
from tsme.data.types import MODALITIES, ImageList, Modality, Split, other
from tsme.models.backbone import Backbone, Normalise
from tsme.models.dsgan import Generators
from tsme.models.inference import CHUNK
from tsme.models.reid import Stream
from tsme.models.translate import as_seen
from tsme.numerics import reproducible

LEAST_SPREAD = 0.03  # of real images' spread; generators have a tenth of it after a few steps, soon half
FEW = 64  # images that tell


class Features(nn.Module):
    """Mean features (n, C) of uint8 images (n, 3, H, W) by a network of ours, for a Fréchet distance."""

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.network = network.eval()
        self.num_features = channels  # or torchmetrics tries a picture to find out, on the CPU

    @classmethod
    def of_backbone(cls, backbone: Backbone) -> Features:
        """Of a backbone's last map."""
        return cls(nn.Sequential(Normalise(), backbone), backbone.channels[-1])

    @classmethod
    def of_stream(cls, stream: Stream) -> Features:
        """Of a stream's map."""
        return cls(stream, stream.backbone.channels[-1])

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """A stream's map, or the last of a backbone's maps, averaged."""
        maps = self.network(to_range(images))
        last: Tensor = maps if isinstance(maps, Tensor) else maps[-1]
        return last.mean((2, 3))


@dataclass(frozen=True)
class HeldOut:
    """People no generator has seen: their images, the truth of them where known, real images to match.

    `features` are what the Fréchet distance to real images of the target modality is measured in, by
    target modality; none where there is no trained network to measure in.
    """

    images: dict[Modality, Tensor]
    ground_truths: dict[Modality, Tensor]
    features: dict[Modality, Features]

    @classmethod
    def read(cls, split: Split, pixels: ImageCache, features: dict[Modality, Features]) -> HeldOut:
        """A split's images and, of a data set that has them, their true counterparts."""

        def ground_truth(images: ImageList) -> Tensor | None:
            return load_ground_truth(pixels.dataset.root, images, pixels.height, pixels.width)

        known = {m: found for m in MODALITIES if (found := ground_truth(split[m])) is not None}
        return cls(pixels.split(split), known, features)

    def score(self, translations: Mapping[Modality, Tensor], device: torch.device) -> dict[str, float]:
        """PSNR in dB and SSIM against the truth, and the Fréchet distance, by the modality made.

        `translations` are those of `images`, by the modality they were made of.
        """
        scores: dict[str, float] = {}
        for source, made in translations.items():
            target = other(source)
            if source in self.ground_truths:
                likeness = _likeness(as_seen(made, target), as_seen(self.ground_truths[source], target))
                scores |= {f"{name}_{target}": value for name, value in likeness.items()}
            if target in self.features:
                real = as_seen(self.images[target], target)
                network = self.features[target].to(device)
                scores[f"frechet_{target}"] = frechet(as_seen(made, target), real, network, device)
        return scores


def _likeness(made: Tensor, ground_truth: Tensor) -> dict[str, float]:
    """Peak signal-to-noise ratio and structural similarity (Wang et al., 2004), means over images.

    Of all three channels, which generators make one by one.
    """
    # Here and below: importing torchmetrics takes seconds, which most commands do without.
    from torchmetrics.functional.image import (
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    psnr = ssim = 0.0
    for chunk in zip(made.split(CHUNK), ground_truth.split(CHUNK), strict=True):
        one, two = (x.float() for x in chunk)
        share = len(one) / len(made)
        psnr += (
            share
            * peak_signal_noise_ratio(
                one, two, data_range=255.0, dim=(1, 2, 3), reduction="elementwise_mean"
            ).item()
        )
        alike = cast(Tensor, structural_similarity_index_measure(one, two, data_range=255.0))
        ssim += share * alike.item()
    return {"psnr": psnr, "ssim": ssim}


def frechet(made: Tensor, real: Tensor, features: Features, device: torch.device) -> float:
    """Fréchet distance of two sets of images (Heusel et al., NeurIPS 2017) in a network's features.

    It falls with the number of images, so only distances of equally many compare.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    # The leading worker measures alone: nobody would answer if it asked the others for theirs.
    distance = FrechetInceptionDistance(feature=features, sync_on_compute=False).to(device)
    for images, is_real in ((made, False), (real, True)):
        for chunk in images.split(CHUNK):
            with reproducible(device, "float32"):
                distance.update(send(chunk, device), real=is_real)
    return float(distance.compute())


def match_histogram(images: Tensor, reference: Tensor) -> Tensor:
    """Each image's grayscale values moved, in their order, to the distribution of all of the reference's.

    What a translation gains over this it owes to looking at more than one pixel.
    """
    wanted = _cumulated(reference)
    matched = torch.empty_like(images)
    for source, target in zip(images.split(1), matched.split(1), strict=True):
        moved = np.interp(_cumulated(source), wanted, np.arange(256)).round().astype(np.uint8)
        target.copy_(torch.from_numpy(moved)[grayscale(source).long()])
    return matched


def _cumulated(images: Tensor) -> NDArray[np.float64]:
    """The share (256,) of an image set's pixels that are of a grayscale value or a lower one."""
    counts = np.zeros(256)
    for chunk in images.split(CHUNK):  # all at once would take many times their memory
        counts += np.bincount(grayscale(chunk)[:, 0].numpy().ravel(), minlength=256)
    return counts.cumsum() / counts.sum()


@torch.no_grad()
def collapsed(generators: Generators, images: Mapping[Modality, Tensor], device: torch.device) -> str:
    """Which generator makes nearly one picture of all images, in words; empty if none does.

    As in training mode: running statistics of batch norms take longer than an epoch to settle.
    """
    few = {m: as_seen(x[:: max(1, len(x) // FEW)][:FEW], m) for m, x in images.items()}
    for source, network in (
        (MODALITIES[0], generators.visible_to_infrared),
        (MODALITIES[1], generators.infrared_to_visible),
    ):
        made = copy.deepcopy(network).train()(to_range(send(few[source], device)))
        share = _spread(to_pixels(made)) / max(_spread(few[other(source)]), 1e-6)
        if share < LEAST_SPREAD:
            return (
                f"the generator to {other(source)} makes nearly the same picture of every image (they "
                f"differ by {100 * share:.1f} % of what real images do)"
            )
    return ""


def _spread(images: Tensor) -> float:
    """Standard deviation of a pixel over the images, mean over pixels."""
    return float(images.float().std(0).mean())
