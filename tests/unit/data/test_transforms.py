"""Crops, flips and channel exchange, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tsme.data.transforms import Augmentation, exchange_channels, to_pixels, to_range


def pixels(count: int, height: int = 6, width: int = 4, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(1, 256, (count, 3, height, width), generator=random).to(torch.uint8)


def draw(count: int, padding: int, seed: int = 0) -> Augmentation:
    return Augmentation.draw(count, padding, torch.Generator().manual_seed(seed))


def naive(images: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    n, channels, h, w = images.shape
    p = augmentation.padding
    out = np.zeros_like(images)
    for k in range(n):
        top, left = int(augmentation.top[k]) - p, int(augmentation.left[k]) - p
        for y in range(h):
            for x in range(w):
                if 0 <= top + y < h and 0 <= left + x < w:
                    column = w - 1 - x if augmentation.mirror[k] else x
                    for c in range(channels):
                        out[k, c, y, column] = images[k, c, top + y, left + x]
    return out


@pytest.mark.parametrize("padding", [0, 1, 3, 5])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_apply_equals_a_loop_over_pixels(padding, dtype):
    images, augmentation = pixels(8).to(dtype), draw(8, padding)
    got = augmentation.apply(images)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got.numpy(), naive(images.numpy(), augmentation))


def test_crops_computed_by_hand():
    image = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).expand(2, 3, 2, 2)
    # Top 0 of padding 1 shifts down by one; left 2 shifts left by one; then the second is mirrored.
    both = Augmentation(1, torch.tensor([0, 0]), torch.tensor([2, 2]), torch.tensor([False, True]))
    assert both.apply(image)[:, 0].tolist() == [[[0, 0], [2, 0]], [[0, 0], [0, 2]]]


def test_an_image_and_its_translation_get_the_same_crop():
    images = pixels(16)
    augmentation = draw(16, 2)
    moved, translated = augmentation.apply(images), augmentation.apply(255 - images)
    inside = moved > 0  # pixels of the image are at least 1
    assert torch.equal(translated[inside], 255 - moved[inside])
    assert inside.float().mean() < 1


def test_draws_are_uniform():
    many = draw(4000, 2)
    for values in (many.top, many.left):
        assert sorted(values.unique().tolist()) == [0, 1, 2, 3, 4]
        # Each of five values 800 times, with standard deviation sqrt(4000 * 0.2 * 0.8) = 25.
        assert all(abs(int((values == v).sum()) - 800) < 130 for v in range(5))
    assert many.mirror.dtype == torch.bool
    assert abs(int(many.mirror.sum()) - 2000) < 160  # five deviations of sqrt(4000) / 2 = 32
    assert not torch.equal(many.top, many.left)


def test_draws_depend_on_the_seed():
    images = pixels(8)
    assert torch.equal(draw(8, 2, 1).apply(images), draw(8, 2, 1).apply(images))
    assert not torch.equal(draw(8, 2, 1).apply(images), draw(8, 2, 2).apply(images))


def exchanged(images: torch.Tensor, probability: float, seed: int = 0) -> torch.Tensor:
    return exchange_channels(images, probability, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_probability_zero_changes_nothing(dtype):
    images = pixels(8).to(dtype)
    assert torch.equal(exchanged(images, 0.0), images)


def planes_of(image: np.ndarray) -> list[np.ndarray]:
    """Red, green, blue, and ITU-R BT.601 luminance."""
    red, green, blue = image.astype(np.float64)
    return [red, green, blue, np.rint(0.299 * red + 0.587 * green + 0.114 * blue)]


def test_probability_one_keeps_one_of_four_planes_uniformly():
    images = pixels(2000, 3, 2)
    got = exchanged(images, 1.0)
    assert got.dtype == torch.uint8
    counts = [0] * 4
    for before, after in zip(images.numpy(), got.numpy(), strict=True):
        assert (after == after[:1]).all()
        matching = [k for k, plane in enumerate(planes_of(before)) if (plane == after[0]).all()]
        assert len(matching) == 1
        counts[matching[0]] += 1
    # 500 each, with standard deviation sqrt(2000 * 0.25 * 0.75) = 19.4.
    assert all(abs(count - 500) < 100 for count in counts)


def test_probability_is_the_share_of_images_replaced():
    images = pixels(2000, 3, 2)
    replaced = (exchanged(images, 0.3) != images).flatten(1).any(1)
    assert abs(int(replaced.sum()) - 600) < 105  # five deviations of sqrt(2000 * 0.3 * 0.7) = 20.5


def test_exchange_keeps_its_input_and_depends_on_the_seed():
    images = pixels(32)
    before = images.clone()
    assert torch.equal(exchanged(images, 0.5, 4), exchanged(images, 0.5, 4))
    assert not torch.equal(exchanged(images, 0.5, 4), exchanged(images, 0.5, 5))
    assert torch.equal(images, before)


def test_pixels_survive_conversion_to_floats_and_back():
    values = torch.arange(256).to(torch.uint8).reshape(1, 1, 16, 16)
    floats = to_range(values)
    assert floats.dtype == torch.float32
    expected = [k / 127.5 - 1 for k in range(256)]
    np.testing.assert_allclose(floats.flatten().numpy(), expected, rtol=0, atol=1e-6)
    assert (float(floats.min()), float(floats.max())) == (-1.0, 1.0)
    assert torch.equal(to_pixels(floats), values)


def test_pixels_are_rounded_to_the_nearest_and_clipped():
    # 0.7 of a step above pixel 100 is nearest to 101, 0.3 of a step to 100.
    images = torch.tensor([100.3 / 127.5 - 1, 100.7 / 127.5 - 1, -1.5, 1.5, 1.001])
    assert to_pixels(images).tolist() == [100, 101, 0, 255, 255]
    assert to_pixels(images).dtype == torch.uint8
