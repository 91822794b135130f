"""Scores of translations against plain loops; histogram matching; collapse of a generator."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tsme.data.images import grayscale
from tsme.evaluation.image_quality import (
    FeatureExtractor,
    HeldOutImages,
    collapse_reason,
    frechet,
    match_histogram,
)
from tsme.models.dsgan import Generators
from tsme.settings import override

CPU = torch.device("cpu")


class Levels(nn.Module):
    """Two features: mean levels of the upper and of the lower half."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[2] // 2
        halves = [part.mean((1, 2, 3)) for part in (x[:, :, :half], x[:, :, half:])]
        return torch.stack(halves, dim=1)[:, :, None, None]


def held(images: dict, ground_truths: dict | None = None, features: dict | None = None) -> HeldOutImages:
    return HeldOutImages(images, ground_truths or {}, features or {})


def naive_psnr(generated: Tensor, ground_truth: Tensor) -> float:
    values = []
    for one, two in zip(generated.double(), ground_truth.double(), strict=True):
        error = ((one - two) ** 2).mean()
        values.append(10 * math.log10(255**2 / float(error)))
    return sum(values) / len(values)


def naive_ssim(generated: Tensor, ground_truth: Tensor) -> float:
    """Wang et al., 2004: an 11 x 11 Gaussian window (sigma 1.5) at every pixel, reflected borders."""
    axis = np.arange(11) - 5
    line = np.exp(-(axis**2) / (2 * 1.5**2))
    window = np.outer(line, line) / np.outer(line, line).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    planes = (x.flatten(0, 1).double().numpy() for x in (generated, ground_truth))  # (3 n, H, W)
    for one, two in zip(*planes, strict=True):
        local = []
        height, width = one.shape
        one, two = (np.pad(p, 5, mode="reflect") for p in (one, two))
        for y in range(height):
            for x in range(width):
                a, b = one[y : y + 11, x : x + 11], two[y : y + 11, x : x + 11]
                ma, mb = (window * a).sum(), (window * b).sum()
                va, vb = (window * a * a).sum() - ma**2, (window * b * b).sum() - mb**2
                ab = (window * a * b).sum() - ma * mb
                local.append((2 * ma * mb + c1) * (2 * ab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
        values.append(np.mean(local))
    return float(np.mean(values))


def test_frechet_distances_do_not_use_tf32(noise):
    seen, network = [], Levels()
    network.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    frechet(noise(4, 1), noise(4, 2), FeatureExtractor(network, 2), CPU)
    assert seen and not any(seen)


def test_psnr_and_ssim_compare_grayscale_images(noise):
    images = {"visible": noise(3, 1), "infrared": noise(3, 2)}
    ground_truths = {"visible": grayscale(noise(3, 3)), "infrared": noise(3, 4)}
    # The channels of generated images may differ.
    generated = {"visible": noise(3, 5), "infrared": grayscale(noise(3, 6))}
    scores = held(images, ground_truths).score(generated, CPU)
    assert set(scores) == {"psnr_infrared", "ssim_infrared", "psnr_visible", "ssim_visible"}
    for source, target in (("visible", "infrared"), ("infrared", "visible")):
        image, ground_truth = grayscale(generated[source]), grayscale(ground_truths[source])
        assert scores[f"psnr_{target}"] == pytest.approx(naive_psnr(image, ground_truth), rel=1e-5)
        assert scores[f"ssim_{target}"] == pytest.approx(naive_ssim(image, ground_truth), abs=1e-4)


def test_a_perfect_translation_scores_one(noise):
    images = {"visible": noise(2, 1), "infrared": noise(2, 2)}
    ground_truths = {"visible": grayscale(noise(2, 3)), "infrared": grayscale(noise(2, 4))}
    scores = held(images, ground_truths).score(ground_truths, CPU)
    assert scores["ssim_infrared"] == scores["ssim_visible"] == pytest.approx(1.0)
    assert scores["psnr_infrared"] == math.inf or scores["psnr_infrared"] > 80


def naive_frechet(one: np.ndarray, two: np.ndarray) -> float:
    from scipy.linalg import sqrtm

    gap = one.mean(0) - two.mean(0)
    a, b = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    return float(gap @ gap + np.trace(a + b - 2 * np.real(sqrtm(a @ b))))


def test_a_frechet_distance_equals_that_of_two_gaussians(noise):
    generated, real = noise(70, 1), (noise(70, 2) * 0.5).to(torch.uint8)
    network = Levels()

    def features(images: Tensor) -> np.ndarray:
        return network(images.double() / 127.5 - 1).mean((2, 3)).numpy()

    expected = naive_frechet(features(generated), features(real))
    assert frechet(generated, real, FeatureExtractor(network, 2), CPU) == pytest.approx(
        expected, rel=1e-3
    )
    assert frechet(real, real, FeatureExtractor(network, 2), CPU) == pytest.approx(0, abs=1e-6)


def test_frechet_distances_are_to_real_images_of_the_target_modality(noise):
    images = {"visible": noise(20, 1), "infrared": (noise(20, 2) * 0.4).to(torch.uint8)}
    features = {"visible": FeatureExtractor(Levels(), 2), "infrared": FeatureExtractor(Levels(), 2)}
    right = {"visible": images["infrared"], "infrared": grayscale(images["visible"])}
    scores = held(images, features=features).score(right, CPU)
    assert scores == pytest.approx({"frechet_infrared": 0.0, "frechet_visible": 0.0}, abs=1e-5)
    wrong = {"visible": grayscale(images["visible"]), "infrared": images["infrared"]}
    assert min(held(images, features=features).score(wrong, CPU).values()) > 0.05


def test_matched_images_keep_the_order_of_pixels_and_have_the_references_distribution(noise):
    reference = grayscale((noise(30, 1) * 0.3).to(torch.uint8) + 20)
    images = noise(4, 2)
    matched = match_histogram(images, reference)
    for source, result in zip(grayscale(images)[:, 0], matched[:, 0], strict=True):
        order = source.flatten().argsort(stable=True)
        assert (result.flatten()[order].int().diff() >= 0).all()
        quantiles = torch.linspace(0.05, 0.95, 10)
        got, expected = (x.float().flatten().quantile(quantiles) for x in (result, reference[:, 0]))
        assert (got - expected).abs().max() < 4
    assert torch.equal(matched[:, 0], matched[:, 2])


def test_a_collapsed_generator_is_named(tiny, noise):
    torch.manual_seed(0)
    generators = Generators(tiny.dsgan)
    images = {"visible": noise(8, 1), "infrared": noise(8, 2)}
    with torch.no_grad():  # so that outputs depend on the input
        for network in (generators.visible_to_infrared, generators.infrared_to_visible):
            network.to_image.weight.mul_(300)
    before = {k: v.clone() for k, v in generators.state_dict().items()}
    assert collapse_reason(generators, images, CPU) == ""
    assert all(torch.equal(before[k], v) for k, v in generators.state_dict().items())
    with torch.no_grad():
        generators.infrared_to_visible.to_image.weight.zero_()
    assert "to visible" in collapse_reason(generators, images, CPU)
    assert "0.0 %" in collapse_reason(generators, images, CPU)


def test_without_skips_the_decoder_sees_only_the_last_map(tiny, noise):
    """With skips, a change of the encoder's first map changes the output."""
    image = noise(2, 1).float() / 127.5 - 1
    for skips in (True, False):
        torch.manual_seed(0)
        network = Generators(override(tiny, {"dsgan.skips": skips}).dsgan).visible_to_infrared.eval()
        maps = network.encoder(network.normalise(image))
        plain = network(image)
        network.encoder = nn.Module()
        network.encoder.forward = lambda x, maps=maps: (maps[0] + 1, *maps[1:])
        assert torch.equal(network(image), plain) == (not skips)
