"""Quality of translations: against ground truth where it is known, and as a set of images.

Images are uint8 (n, 3, H, W). Visible images are compared in grayscale, which is what generators see.
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
from tsme.models.streams import Stream
from tsme.numerics import reproducible

# A healthy generator's outputs reach a tenth of the real images' deviation in a few steps, soon half.
MIN_STD_RATIO = 0.03
COLLAPSE_IMAGES = 64  # enough to recognise a collapse


class FeatureExtractor(nn.Module):
    """Mean features (n, C) of uint8 images (n, 3, H, W), for a Fréchet distance."""

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.network = network.eval()
        self.num_features = channels  # otherwise torchmetrics runs the network on the CPU to find out

    @classmethod
    def of_backbone(cls, backbone: Backbone) -> FeatureExtractor:
        """Features of a backbone's last map."""
        return cls(nn.Sequential(Normalise(), backbone), backbone.channels[-1])

    @classmethod
    def of_stream(cls, stream: Stream) -> FeatureExtractor:
        """Features of a stream's map."""
        return cls(stream, stream.backbone.channels[-1])

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        maps = self.network(to_range(images))
        last: Tensor = maps if isinstance(maps, Tensor) else maps[-1]
        return last.mean((2, 3))


@dataclass(frozen=True)
class HeldOutImages:
    """Held-out images for scoring translations, with ground truth where available.

    `ground_truths` are the counterparts of `images` in the other modality, by the images' own modality.
    `features` compute the features for the Fréchet distance to real images, by target modality;
    empty without a trained network.
    """

    images: dict[Modality, Tensor]
    ground_truths: dict[Modality, Tensor]
    features: dict[Modality, FeatureExtractor]

    @classmethod
    def read(
        cls, split: Split, cache: ImageCache, features: dict[Modality, FeatureExtractor]
    ) -> HeldOutImages:
        """A split's images and, if the data set has them, their ground truths."""

        def ground_truth(images: ImageList) -> Tensor | None:
            return load_ground_truth(cache.dataset.root, images, cache.height, cache.width)

        found = {m: ground_truth(split[m]) for m in MODALITIES}
        ground_truths = {m: images for m, images in found.items() if images is not None}
        return cls(cache.split(split), ground_truths, features)

    def score(self, translations: Mapping[Modality, Tensor], device: torch.device) -> dict[str, float]:
        """PSNR in dB and SSIM against ground truth, and the Fréchet distance, by target modality.

        `translations` are those of `images`, by the images' own modality.
        """
        scores: dict[str, float] = {}
        for source, translated in translations.items():
            target = other(source)
            generated = grayscale(translated)
            if source in self.ground_truths:
                similarity = _similarity(generated, grayscale(self.ground_truths[source]))
                scores |= {f"{name}_{target}": value for name, value in similarity.items()}
            if target in self.features:
                real = grayscale(self.images[target])
                network = self.features[target].to(device)
                scores[f"frechet_{target}"] = frechet(generated, real, network, device)
        return scores


def _similarity(generated: Tensor, ground_truth: Tensor) -> dict[str, float]:
    """Peak signal-to-noise ratio and structural similarity (Wang et al., 2004), means over images.

    All three channels are compared, because a generator computes each of them.
    """
    # Here and below: importing torchmetrics takes seconds, and most commands do not need it.
    from torchmetrics.functional.image import (
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    psnr = ssim = 0.0
    for chunk in zip(generated.split(CHUNK), ground_truth.split(CHUNK), strict=True):
        one, two = (x.float() for x in chunk)
        weight = len(one) / len(generated)
        ratio = peak_signal_noise_ratio(
            one, two, data_range=255.0, dim=(1, 2, 3), reduction="elementwise_mean"
        )
        psnr += weight * ratio.item()
        similarity = cast(Tensor, structural_similarity_index_measure(one, two, data_range=255.0))
        ssim += weight * similarity.item()
    return {"psnr": psnr, "ssim": ssim}


def frechet(generated: Tensor, real: Tensor, features: FeatureExtractor, device: torch.device) -> float:
    """Fréchet distance of two sets of images (Heusel et al., NeurIPS 2017) in a network's features.

    The distance falls with the number of images: compare only distances of equally many.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    # Only the main worker measures; waiting for the others would never end.
    distance = FrechetInceptionDistance(feature=features, sync_on_compute=False).to(device)
    for images, is_real in ((generated, False), (real, True)):
        for chunk in images.split(CHUNK):
            with reproducible(device, "float32"):
                distance.update(send(chunk, device), real=is_real)
    return float(distance.compute())


def match_histogram(images: Tensor, reference: Tensor) -> Tensor:
    """Map each image's gray levels, keeping their order, to the distribution of all of `reference`.

    A baseline for translations, which maps each pixel on its own.
    """
    reference_distribution = _cumulative(reference)
    matched = torch.empty_like(images)
    for source, target in zip(images.split(1), matched.split(1), strict=True):
        values = np.interp(_cumulative(source), reference_distribution, np.arange(256))
        table = torch.from_numpy(values.round().astype(np.uint8))
        target.copy_(table[grayscale(source).long()])
    return matched


def _cumulative(images: Tensor) -> NDArray[np.float64]:
    """Cumulative distribution (256,) of the gray levels of all pixels."""
    counts = np.zeros(256)
    for chunk in images.split(CHUNK):  # all at once would take many times their memory
        counts += np.bincount(grayscale(chunk)[:, 0].numpy().ravel(), minlength=256)
    return counts.cumsum() / counts.sum()


@torch.no_grad()
def collapse_reason(
    generators: Generators, images: Mapping[Modality, Tensor], device: torch.device
) -> str:
    """Message about a generator whose outputs are nearly the same for all images; empty if there is none.

    Generators run in training mode: running statistics need more than an epoch to converge.
    """
    samples = {
        m: grayscale(x[:: max(1, len(x) // COLLAPSE_IMAGES)][:COLLAPSE_IMAGES]) for m, x in images.items()
    }
    for source, network in (
        (MODALITIES[0], generators.visible_to_infrared),
        (MODALITIES[1], generators.infrared_to_visible),
    ):
        translated = copy.deepcopy(network).train()(to_range(send(samples[source], device)))
        ratio = _mean_std(to_pixels(translated)) / max(_mean_std(samples[other(source)]), 1e-6)
        if ratio < MIN_STD_RATIO:
            return (
                f"the generator to {other(source)} makes nearly the same picture of every image (they "
                f"differ by {100 * ratio:.1f} % of what real images do)"
            )
    return ""


def _mean_std(images: Tensor) -> float:
    """Standard deviation of a pixel over the images, mean over pixels."""
    return float(images.float().std(0).mean())
