"""Seeds derived for single purposes."""

from __future__ import annotations

import pytest
import torch

from tsme.seeding import derive, generator


def test_every_purpose_has_its_own_seed():
    purposes = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 1), (0, "a", 2), (0, "a", 1, 2), (0,), (10,)]
    seeds = [derive(*purpose) for purpose in purposes]
    assert len(set(seeds)) == len(purposes)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds == [derive(*purpose) for purpose in purposes]


@pytest.mark.parametrize("purpose", [("dsgan", 1, 0), ("reid", 1, 0)])
def test_generators_repeat_and_do_not_use_the_global_one(purpose):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    draws = [torch.rand(4, generator=generator(3, *purpose)) for _ in range(2)]
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], torch.rand(4, generator=generator(4, *purpose)))
    assert torch.equal(before, torch.get_rng_state())
