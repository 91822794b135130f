"""Identity batches and unpaired batches, checked image by image."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pytest

from tsme.data.samplers import IdentitySampler, unpaired_epoch
from tsme.errors import UserError

# Unsorted labels; identity 8 has one visible image, identity 9 is visible only, 6 infrared only.
VISIBLE = np.array([3, 5, 3, 8, 5, 3, 7, 7, 5, 7, 9, 4, 4, 4, 3])
INFRARED = np.array([7, 7, 8, 8, 3, 3, 3, 5, 5, 4, 4, 6, 4, 5, 8])


def sampler(rank: int = 0, world_size: int = 1, **changes: int) -> IdentitySampler:
    settings = {"identities": 2, "images": 3, "seed": 1} | changes
    return IdentitySampler(VISIBLE, INFRARED, rank=rank, world_size=world_size, **settings)


def listed(batches) -> list[tuple[list[int], list[int]]]:
    return [(visible.tolist(), infrared.tolist()) for visible, infrared in batches]


def identities_of(rows, labels, images: int) -> list[int]:
    """The identities of a batch, of which each has a block of `images` rows."""
    identities = []
    for start in range(0, len(rows), images):
        block = {int(labels[row]) for row in rows[start : start + images]}
        assert len(block) == 1
        identities.append(block.pop())
    return identities


@pytest.mark.parametrize(("identities", "images"), [(2, 3), (5, 1), (1, 4), (3, 2)])
def test_batches_have_the_same_identities_in_both_modalities(identities, images):
    batches = [
        batch
        for number in range(6)
        for batch in sampler(identities=identities, images=images).epoch(number)
    ]
    for visible, infrared in batches:
        assert visible.shape == infrared.shape == (identities * images,)
        found = identities_of(visible, VISIBLE, images)
        assert found == identities_of(infrared, INFRARED, images)
        assert len(set(found)) == identities
        assert set(found) <= {3, 4, 5, 7, 8}  # those seen in both modalities


def test_an_identity_with_few_images_has_each_used_before_any_is_repeated():
    for visible, infrared in sampler(images=5).epoch(1):
        for rows, labels in ((visible, VISIBLE), (infrared, INFRARED)):
            for start in range(0, len(rows), 5):
                block = [int(row) for row in rows[start : start + 5]]
                own = np.flatnonzero(labels == labels[block[0]]).tolist()
                uses = [Counter(block)[row] for row in own]
                assert sum(uses) == 5
                assert max(uses) - min(uses) <= 1


def test_every_identity_is_drawn_equally_often_over_whole_passes():
    # 5 identities, one to a batch; an epoch has ceil(15 / 3) = 5 batches: each identity once.
    for number in range(5):
        batches = sampler(identities=1).epoch(number)
        identities = [p for visible, _ in batches for p in identities_of(visible, VISIBLE, 3)]
        assert sorted(identities) == [3, 4, 5, 7, 8]


def test_every_image_is_drawn():
    seen = [set(), set()]
    for number in range(30):
        for batch in sampler().epoch(number):
            for rows, known in zip(batch, seen, strict=True):
                known.update(rows.tolist())
    assert seen[0] == set(np.flatnonzero(np.isin(VISIBLE, INFRARED)).tolist())
    assert seen[1] == set(np.flatnonzero(np.isin(INFRARED, VISIBLE)).tolist())


def test_an_epoch_is_repeatable_and_epochs_differ():
    first = listed(sampler().epoch(1))
    assert listed(sampler().epoch(1)) == first
    assert listed(sampler().epoch(2)) != first
    assert listed(sampler(seed=2).epoch(1)) != first
    one = sampler()  # other epochs before do not matter, as after an interruption
    list(one.epoch(5))
    assert listed(one.epoch(1)) == first


@pytest.mark.parametrize(
    ("identities", "images", "world_size", "steps"),
    # 15 images in the larger modality over identities * images * workers of them a step, rounded up
    [(2, 3, 1, 3), (1, 1, 1, 15), (5, 3, 1, 1), (2, 2, 2, 2), (1, 4, 2, 2), (2, 7, 1, 2)],
)
def test_an_epoch_shows_as_many_images_as_the_larger_modality(identities, images, world_size, steps):
    one = sampler(world_size=world_size, identities=identities, images=images)
    assert len(one) == steps
    assert len(list(one.epoch(3))) == steps


@pytest.mark.parametrize(("world_size", "identities"), [(2, 2), (5, 1), (2, 1)])
def test_workers_divide_the_plan_of_a_single_worker(world_size, identities):
    for number in range(4):
        workers = [
            [identities_of(visible, VISIBLE, 1) for visible, _ in one.epoch(number)]
            for one in (
                sampler(rank=rank, world_size=world_size, identities=identities, images=1)
                for rank in range(world_size)
            )
        ]
        together = [list(chain(*step)) for step in zip(*workers, strict=True)]
        alone = sampler(identities=identities * world_size, images=1).epoch(number)
        assert together == [identities_of(visible, VISIBLE, 1) for visible, _ in alone]
        assert all(len(set(step)) == world_size * identities for step in together)


def test_workers_do_not_draw_the_same_random_numbers():
    # Two identities with as many images each: equal draws would give equal offsets.
    labels = np.repeat([0, 1], 8)
    draws = []
    for rank in range(2):
        one = IdentitySampler(
            labels, labels, identities=1, images=8, seed=0, rank=rank, world_size=2
        ).epoch(1)
        draws.append([(rows % 8).tolist() for rows, _ in one])
    assert draws[0] != draws[1]


@pytest.mark.parametrize(("identities", "world_size"), [(6, 1), (3, 2), (1, 6)])
def test_too_few_identities_are_a_user_error(identities, world_size):
    with pytest.raises(UserError, match=r"5 training identities.*takes 6.*reid\.identities"):
        sampler(identities=identities, world_size=world_size)


def test_with_two_identities_per_worker_fewer_workers_are_advised():
    with pytest.raises(UserError, match=r"takes 6 \(2 on each of 3 workers\): lower resources\.workers$"):
        sampler(identities=2, world_size=3)


def unpaired(visible: int, infrared: int, world_size: int = 1, **changes: int):
    """The batches of each worker."""
    settings = {"batch": 2, "seed": 1, "epoch": 1} | changes
    return [
        listed(unpaired_epoch(visible, infrared, rank=rank, world_size=world_size, **settings))
        for rank in range(world_size)
    ]


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize(("visible", "infrared"), [(24, 24), (24, 7), (5, 16), (24, 1)])
def test_unpaired_epoch_shows_every_image_of_the_larger_modality_once(visible, infrared, world_size):
    workers = unpaired(visible, infrared, world_size)
    steps = max(visible, infrared) // (2 * world_size)
    assert [len(batches) for batches in workers] == [steps] * world_size
    for which, count in enumerate((visible, infrared)):
        rows = [row for batches in workers for batch in batches for row in batch[which]]
        uses = [Counter(rows)[row] for row in range(count)]
        assert sum(uses) == len(rows) == max(visible, infrared)
        assert max(uses) - min(uses) <= 1
        assert min(uses) >= 1


def test_workers_divide_the_unpaired_plan_of_a_single_worker():
    workers = unpaired(24, 24, 3)
    together = [
        tuple(list(chain(*(b[m] for b in step))) for m in (0, 1)) for step in zip(*workers, strict=True)
    ]
    assert together == unpaired(24, 24, 1, batch=6)[0]


def test_an_incomplete_last_unpaired_batch_is_left_out():
    (batches,) = unpaired(7, 4)
    assert len(batches) == 3
    assert len({row for visible, _ in batches for row in visible}) == 6


@pytest.mark.parametrize(("visible", "infrared"), [(3, 2), (1, 1), (0 + 3, 1)])
def test_fewer_images_than_a_batch_still_make_one_step(visible, infrared):
    ((batch,),) = unpaired(visible, infrared, batch=4)
    for rows, count in zip(batch, (visible, infrared), strict=True):
        assert len(rows) == 4
        assert set(rows) == set(range(count))


def test_unpaired_modalities_are_shuffled_independently_in_each_epoch():
    (first,), (again,), (second,) = (unpaired(20, 20, epoch=e) for e in (1, 1, 2))
    assert first == again != second
    assert [v for v, _ in first] != [i for _, i in first]
    assert [v for v, _ in first] != [v for v, _ in second]
    assert [i for _, i in first] != [i for _, i in second]
    assert first != unpaired(20, 20, seed=2)[0]
