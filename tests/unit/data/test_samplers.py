"""Batches of people and of unpaired images, checked image by image."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pytest

from tsme.data.samplers import IdentitySampler, unpaired_epoch
from tsme.errors import UserError

# Labels in no order; person 8 has one visible image, person 9 is visible only, 6 infrared only.
VISIBLE = np.array([3, 5, 3, 8, 5, 3, 7, 7, 5, 7, 9, 4, 4, 4, 3])
INFRARED = np.array([7, 7, 8, 8, 3, 3, 3, 5, 5, 4, 4, 6, 4, 5, 8])


def sampler(rank: int = 0, world_size: int = 1, **changes: int) -> IdentitySampler:
    settings = {"identities": 2, "images": 3, "seed": 1} | changes
    return IdentitySampler(VISIBLE, INFRARED, rank=rank, world_size=world_size, **settings)


def listed(batches) -> list[tuple[list[int], list[int]]]:
    return [(visible.tolist(), infrared.tolist()) for visible, infrared in batches]


def people_of(rows, labels, images: int) -> list[int]:
    """The people of a batch; every block of `images` rows must be of one person."""
    people = []
    for start in range(0, len(rows), images):
        block = {int(labels[row]) for row in rows[start : start + images]}
        assert len(block) == 1
        people.append(block.pop())
    return people


@pytest.mark.parametrize(("identities", "images"), [(2, 3), (5, 1), (1, 4), (3, 2)])
def test_batches_hold_people_times_images_aligned_in_both_modalities(identities, images):
    batches = [
        batch
        for number in range(6)
        for batch in sampler(identities=identities, images=images).epoch(number)
    ]
    for visible, infrared in batches:
        assert visible.shape == infrared.shape == (identities * images,)
        people = people_of(visible, VISIBLE, images)
        assert people == people_of(infrared, INFRARED, images)
        assert len(set(people)) == identities
        assert set(people) <= {3, 4, 5, 7, 8}  # those seen in both modalities


def test_a_person_with_few_images_has_each_used_before_any_is_repeated():
    for visible, infrared in sampler(images=5).epoch(1):
        for rows, labels in ((visible, VISIBLE), (infrared, INFRARED)):
            for start in range(0, len(rows), 5):
                block = [int(row) for row in rows[start : start + 5]]
                own = np.flatnonzero(labels == labels[block[0]]).tolist()
                uses = [Counter(block)[row] for row in own]
                assert sum(uses) == 5
                assert max(uses) - min(uses) <= 1


def test_every_person_is_drawn_equally_often_over_whole_passes():
    # 5 people, one to a batch; an epoch has ceil(15 / 3) = 5 batches: each person once.
    for number in range(5):
        batches = sampler(identities=1).epoch(number)
        people = [p for visible, _ in batches for p in people_of(visible, VISIBLE, 3)]
        assert sorted(people) == [3, 4, 5, 7, 8]


def test_every_image_has_its_turn():
    seen = [set(), set()]
    for number in range(30):
        for batch in sampler().epoch(number):
            for rows, known in zip(batch, seen, strict=True):
                known.update(rows.tolist())
    assert seen[0] == set(np.flatnonzero(np.isin(VISIBLE, INFRARED)).tolist())
    assert seen[1] == set(np.flatnonzero(np.isin(INFRARED, VISIBLE)).tolist())


def test_an_epoch_repeats_and_others_differ():
    first = listed(sampler().epoch(1))
    assert listed(sampler().epoch(1)) == first
    assert listed(sampler().epoch(2)) != first
    assert listed(sampler(seed=2).epoch(1)) != first
    one = sampler()  # whatever was drawn before, as after an interruption
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
def test_workers_hold_different_people_who_together_are_the_one_plan(world_size, identities):
    for number in range(4):
        workers = [
            [people_of(visible, VISIBLE, 1) for visible, _ in one.epoch(number)]
            for one in (
                sampler(rank=rank, world_size=world_size, identities=identities, images=1)
                for rank in range(world_size)
            )
        ]
        together = [list(chain(*step)) for step in zip(*workers, strict=True)]
        alone = sampler(identities=identities * world_size, images=1).epoch(number)
        assert together == [people_of(visible, VISIBLE, 1) for visible, _ in alone]
        assert all(len(set(step)) == world_size * identities for step in together)


def test_workers_do_not_draw_the_same_random_numbers():
    # Two people with as many images each: equal draws would show as equal offsets.
    labels = np.repeat([0, 1], 8)
    draws = []
    for rank in range(2):
        one = IdentitySampler(
            labels, labels, identities=1, images=8, seed=0, rank=rank, world_size=2
        ).epoch(1)
        draws.append([(rows % 8).tolist() for rows, _ in one])
    assert draws[0] != draws[1]


@pytest.mark.parametrize(("identities", "world_size"), [(6, 1), (3, 2), (1, 6)])
def test_too_few_people_are_a_user_error(identities, world_size):
    with pytest.raises(UserError, match=r"5 training identities.*takes 6.*reid\.identities"):
        sampler(identities=identities, world_size=world_size)


def test_with_two_people_a_worker_it_takes_fewer_workers():
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


def test_workers_of_an_unpaired_step_share_no_image_and_make_up_the_single_plan():
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


def test_unpaired_modalities_are_shuffled_apart_and_anew_each_epoch():
    (first,), (again,), (second,) = (unpaired(20, 20, epoch=e) for e in (1, 1, 2))
    assert first == again != second
    assert [v for v, _ in first] != [i for _, i in first]
    assert [v for v, _ in first] != [v for v, _ in second]
    assert [i for _, i in first] != [i for _, i in second]
    assert first != unpaired(20, 20, seed=2)[0]
