"""Random erasing: rectangles of the published sizes, the same on an image and its translation."""

from __future__ import annotations

import torch
from torch import Tensor

from tsme.data.transforms import MEAN_PIXEL, draw_erased, erase
from tsme.data.types import MODALITIES
from tsme.settings import override


def rectangles(probability: float, count: int = 400) -> Tensor:
    images = torch.zeros(count, 3, 48, 24, dtype=torch.uint8)
    return draw_erased(images, probability, torch.Generator().manual_seed(5))[:, 0]


def test_erased_rectangles_are_of_the_papers_sizes_and_shapes():
    """Zhong et al., AAAI 2020: 2 to 40 % of the image, 0.3 to 3.33 times as high as wide."""
    masks = rectangles(1.0)
    assert masks.flatten(1).any(1).float().mean() > 0.99
    corners = set()
    for mask in masks[masks.flatten(1).any(1)]:
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        high, wide = len(rows), len(columns)
        assert int(mask.sum()) == high * wide, "one whole rectangle"
        assert 0.015 < high * wide / mask.numel() < 0.43
        assert 0.2 < high / wide < 4.5  # sides are rounded to pixels
        corners.add((int(rows[0]), int(columns[0])))
    assert len(corners) > 200


def test_the_share_of_images_erased_is_the_probability():
    assert 0.4 < float(rectangles(0.5).flatten(1).any(1).float().mean()) < 0.6
    assert not rectangles(0.0).any()


def test_erased_pixels_are_of_the_mean_colour_and_others_stay():
    images = torch.randint(256, (4, 3, 48, 24), generator=torch.Generator().manual_seed(1)).byte()
    mask = rectangles(1.0, 4)[:, None]
    out = erase(images, mask)
    assert torch.equal(out.masked_fill(mask, 0), images.masked_fill(mask, 0))
    for channel, value in enumerate(MEAN_PIXEL):
        assert (out[:, channel][mask[:, 0]] == value).all()


def test_an_image_and_its_translation_lose_the_same_rectangle(tiny, make_reid):
    task = make_reid(override(tiny, {"reid.erasing": 1.0, "reid.channel_exchange": 0.0}))
    for source in (task.images, task.translations):
        for modality in MODALITIES:
            source[modality] = torch.full_like(source[modality], 255)
    rows = next(iter(task.step_batches(1)))
    for modality, own in zip(MODALITIES, rows, strict=True):
        image, translation, _ = task._load(modality, own)
        red = round(MEAN_PIXEL[0] / 127.5 - 1, 4)
        erased = [(x[:, 0] * 1e4).round() == round(red * 1e4) for x in (image, translation)]
        assert erased[0].flatten(1).any(1).all()
        assert torch.equal(*erased)
