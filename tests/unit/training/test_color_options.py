"""Stage 2's options for colours and copies that are not in the paper's recipe."""

from __future__ import annotations

import torch
from torch import Tensor

from tsme.config import Config
from tsme.data.images import grayscale
from tsme.settings import override

PLAIN = {"image.padding": 0, "reid.dropout": 0.0, "reid.channel_exchange": 0.0}


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
    def gray(values: dict[str, object]) -> Tensor:
        _, rows, (images, _, _) = loaded(tiny, make_reid, "infrared", values)
        assert len(images) == len(rows)
        return (images[:, 0] == images[:, 1]).flatten(1).all(1)

    assert gray({"reid.exchanged_copies": True}).any() and not gray({}).any()


def test_a_grayscale_copy_is_of_the_image_before_its_colours_change(tiny, make_reid):
    values = {"reid.translation": "grayscale", "reid.channel_exchange": 1.0}
    task, rows, (images, copies, _) = loaded(tiny, make_reid, "visible", values)
    for row, copied, image in zip(rows, copies, images, strict=True):
        plain = grayscale(task.images["visible"][row]).float() / 127.5 - 1
        assert min(float((x - copied).abs().max()) for x in (plain, plain.flip(2))) < 1e-5
        assert torch.equal(image[0], image[1]), "one of the channels, or the luminance"
    assert not torch.allclose(images, copies)
