"""Stage 2's options for colours, copies and rates that are not in the paper's recipe."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tsme.config import Config
from tsme.data.images import grayscale
from tsme.data.transforms import mix_linearly
from tsme.settings import override

PLAIN = {"image.padding": 0, "reid.dropout": 0.0, "reid.channel_exchange": 0.0}


def one_colour(count: int, *colour: int) -> Tensor:
    return torch.tensor(colour, dtype=torch.uint8).view(1, 3, 1, 1).repeat(count, 1, 24, 12)


def mixed(images: Tensor, probability: float = 1.0, seed: int = 0) -> Tensor:
    return mix_linearly(images, probability, torch.Generator().manual_seed(seed))


def test_a_mix_is_gray_and_lies_between_the_channels():
    out = mixed(one_colour(200, 60, 90, 120))
    assert out.dtype == torch.uint8 and torch.equal(out[:, 0], out[:, 1])
    assert torch.equal(out[:, 0], out[:, 2])
    around = out[:, 0].flatten(1).mode(dim=1).values  # most rectangles are less than half of the image
    assert ((around >= 30) & (around <= 180)).all() and ((around >= 60) & (around <= 120)).sum() > 150
    assert len(around.unique()) > 30


def test_a_rectangle_of_a_mix_is_brighter_or_darker():
    out = mixed(one_colour(300, 100, 100, 100))[:, 0]
    tones = [row.unique().tolist() for row in out.flatten(1)]
    assert all(len(t) <= 2 and 100 in t for t in tones if len(t) == 2)
    gains = [(set(t) - {100}).pop() / 100 for t in tones if len(t) == 2]
    assert len(gains) > 280 and 0.5 <= min(gains) < 0.6 and 1.4 < max(gains) <= 1.5


def test_the_share_of_mixed_images_is_the_probability():
    images = one_colour(400, 10, 100, 200)
    changed = (mixed(images, 0.25) != images).flatten(1).any(1).float().mean()
    assert 0.18 < float(changed) < 0.32
    assert torch.equal(mixed(images, 0.0), images)


def loaded(tiny: Config, make_reid, modality: str, values: dict[str, object]):
    task = make_reid(override(tiny, PLAIN | values))
    rows = next(iter(task.step_batches(1)))[modality == "infrared"]
    return task, rows, task._load(modality, rows)


def test_a_visible_image_is_in_the_batch_with_a_copy_of_exchanged_channels(tiny, make_reid):
    task, rows, (images, translations, labels) = loaded(
        tiny, make_reid, "visible", {"reid.exchanged_copies": True}
    )
    half = len(rows)
    assert len(images) == len(translations) == len(labels) == 2 * half
    assert torch.equal(labels[:half], labels[half:])
    gray = (images[:, 0] == images[:, 1]).flatten(1).all(1) & (images[:, 0] == images[:, 2]).flatten(
        1
    ).all(1)
    assert gray.tolist() == [False] * half + [True] * half
    sides = torch.cat([task.images["visible"][rows], task.images["visible"][rows].flip(3)])
    for copied in images[half:, 0]:  # one of the channels or the luminance of an image
        planes = torch.cat([sides, grayscale(sides)[:, :1]], dim=1).float() / 127.5 - 1
        assert (planes - copied).abs().amax((2, 3)).min() < 1e-5
    batch = next(iter(task.step_batches(1)))
    assert all(torch.isfinite(loss) for loss in task.step(batch).values())


def test_copies_exchange_channels_of_infrared_images_too(tiny, make_reid):
    seen = []
    for _ in range(1):
        _, rows, (images, _, _) = loaded(tiny, make_reid, "infrared", {"reid.exchanged_copies": True})
        assert len(images) == len(rows)
        seen.append((images[:, 0] == images[:, 1]).flatten(1).all(1))
    _, _, (images, _, _) = loaded(tiny, make_reid, "infrared", {})
    assert torch.cat(seen).any() and not (images[:, 0] == images[:, 1]).flatten(1).all(1).any()


@pytest.mark.parametrize("modality", ["visible", "infrared"])
def test_a_grayscale_copy_is_of_the_image_before_its_colours_change(tiny, make_reid, modality):
    values = {"reid.translation": "grayscale", "reid.linear_mixing": 1.0}
    task, rows, (images, copies, _) = loaded(tiny, make_reid, modality, values)
    for row, copied, image in zip(rows, copies, images, strict=True):
        plain = grayscale(task.images[modality][row]).float() / 127.5 - 1
        assert min(float((x - copied).abs().max()) for x in (plain, plain.flip(2))) < 1e-5
        assert not torch.allclose(image, copied)


def test_rates_fall_along_a_cosine_after_the_warm_up(tiny, make_reid):
    values = {
        "reid.optimizer.cosine": True,
        "reid.optimizer.warmup": 2,
        "reid.optimizer.lr": 0.1,
        "reid.epochs": 6,
    }
    task = make_reid(override(tiny, values))
    seen = []
    for _ in range(6):
        seen.append(task.optimizer.param_groups[1]["lr"])
        task.optimizer.step()
        task.end_epoch()
    wave = [0.1 * (1 + math.cos(math.pi * k / 6)) / 2 for k in range(6)]
    assert seen == pytest.approx([0.5 * wave[0], *wave[1:]])
