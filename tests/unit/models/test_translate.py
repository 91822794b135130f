"""Pixels through a frozen generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tsme.models.dsgan import Generators
from tsme.models.translate import translate

CPU = torch.device("cpu")


@pytest.fixture
def generators(tiny, unsettle) -> Generators:
    torch.manual_seed(0)
    pair = Generators(tiny.dsgan)
    unsettle(pair)
    return pair.eval()


def naive_pixels(floats: torch.Tensor) -> np.ndarray:
    """-1..1 to 0..255, before rounding."""
    return (floats.double().numpy() + 1) * 127.5


def naive_grayscale(images: torch.Tensor) -> torch.Tensor:
    red, green, blue = images.double().unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).round().unsqueeze(1).repeat(1, 3, 1, 1)


@pytest.mark.parametrize("modality", ["visible", "infrared"])
def test_each_modality_takes_its_generator_and_images_are_turned_to_grayscale(
    generators, noise, modality
):
    images = noise(5)
    got = translate(generators, images, modality, CPU)
    assert got.dtype == torch.uint8 and got.shape == images.shape
    source = naive_grayscale(images)
    network = generators.visible_to_infrared if modality == "visible" else generators.infrared_to_visible
    with torch.no_grad():
        expected = naive_pixels(network((source / 255 * 2 - 1).float()))
    assert np.abs(got.numpy() - expected).max() < 0.51
    assert got.float().std() > 2


def test_colour_makes_no_difference_to_a_translation(generators, noise):
    images = noise(3)
    grayscale = naive_grayscale(images).to(torch.uint8)
    for modality in ("visible", "infrared"):
        assert torch.equal(*(translate(generators, x, modality, CPU) for x in (images, grayscale)))


@pytest.mark.parametrize("modality", ["visible", "infrared"])
def test_a_translation_does_not_depend_on_its_neighbours(generators, noise, modality):
    generators.train()  # whatever mode they come in
    images = noise(130)  # three chunks
    together = translate(generators, images, modality, CPU)
    for row in (0, 63, 64, 129):
        alone = translate(generators, images[row : row + 1], modality, CPU)
        # One grayscale level, should the convolutions of one image round otherwise than those of 64.
        assert (alone[0].int() - together[row].int()).abs().max() <= 1


def test_translating_leaves_the_translators_as_they_were(generators, noise):
    before = {k: v.clone() for k, v in generators.state_dict().items()}
    translate(generators, noise(4), "visible", CPU)
    after = generators.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in generators.parameters())


def test_convolutions_of_float32_are_not_tf32_and_repeat(generators, noise):
    def flags() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic

    seen, before = [], flags()
    generators.infrared_to_visible.register_forward_pre_hook(lambda *_: seen.append(flags()))
    translate(generators, noise(2), "infrared", CPU)
    assert seen == [(False, True)] and flags() == before
