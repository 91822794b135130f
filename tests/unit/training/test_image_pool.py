"""CycleGAN's pool of earlier translations."""

from __future__ import annotations

import pytest
import torch

from tsme.training.image_pool import ImagePool


def images(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2).clone()


def numbers(batch) -> list[int]:
    return [int(image.flatten()[0]) for image in batch]


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_pool_that_is_not_full_returns_its_input():
    pool, generator = ImagePool(5), random()
    assert numbers(pool.exchange(images(1, 2, 3), generator)) == [1, 2, 3]
    assert numbers(pool.exchange(images(4, 5), generator)) == [4, 5]
    assert numbers(pool.images) == [1, 2, 3, 4, 5]


def test_a_full_pool_exchanges_half_of_the_images():
    pool, generator = ImagePool(4), random()
    pool.exchange(images(0, 1, 2, 3), generator)
    held, given, replaced = {0, 1, 2, 3}, 0, [0] * 4
    for new in range(4, 2004):
        before = numbers(pool.images)
        (got,) = numbers(pool.exchange(images(new), generator))
        if got == new:
            assert numbers(pool.images) == before
        else:
            place = before.index(got)
            assert numbers(pool.images) == [*before[:place], new, *before[place + 1 :]]
            held = held - {got} | {new}
            given += 1
            replaced[place] += 1
    assert set(numbers(pool.images)) == held
    # 1000 of 2000, with deviation sqrt(2000) / 2 = 22; a quarter of them from each place.
    assert abs(given - 1000) < 112
    assert all(abs(count - 250) < 75 for count in replaced)


def test_an_image_can_be_replaced_by_one_of_its_own_batch():
    pool = ImagePool(1)
    got = numbers(pool.exchange(images(*range(50)), random()))
    assert got[0] == 0
    assert any(old < new for new, old in enumerate(got))
    assert all(old <= new for new, old in enumerate(got))


@pytest.mark.parametrize("count", [1, 8])
def test_a_pool_of_size_zero_keeps_nothing(count):
    pool, generator = ImagePool(0), random()
    before = generator.get_state()
    batch = images(*range(count))
    assert torch.equal(pool.exchange(batch, generator), batch)
    assert pool.images == []
    assert torch.equal(generator.get_state(), before)


def test_kept_images_are_copies_without_gradient():
    pool, batch = ImagePool(2), images(1, 2).requires_grad_()
    got = pool.exchange(batch * 1, random())
    assert not got.requires_grad
    with torch.no_grad():
        batch.zero_()
    assert numbers(pool.images) == [1, 2]
    assert not any(image.requires_grad for image in pool.images)


def test_draws_come_from_the_generator_alone():
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed * 17 + len(runs))
        pool, generator = ImagePool(3), random(seed)
        runs.append([numbers(pool.exchange(images(k, k + 1), generator)) for k in range(0, 60, 2)])
    assert runs[0] == runs[1] != runs[2]
