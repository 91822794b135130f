"""Warm-up of stage 2's learning rates, also after a restart."""

from __future__ import annotations

import copy

import pytest

from tsme.settings import override


def test_rates_rise_over_the_first_epochs_and_then_follow_the_milestones(tiny, make_reid):
    settings = {"reid.epochs": 8, "reid.optimizer.warmup": 4, "reid.optimizer.milestones": (6,)}
    settings["reid.optimizer.lr"] = 0.1
    task = make_reid(override(tiny, settings))
    seen = []
    for _ in range(7):
        heads = task.optimizer.param_groups[1]["lr"]
        assert task.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * heads)
        seen.append(heads)
        task.optimizer.step()
        task.end_epoch()
    assert seen == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.01])


def test_rates_go_on_where_they_were(tiny, make_reid):
    settings = {"reid.epochs": 8, "reid.optimizer.warmup": 4, "reid.optimizer.milestones": (6,)}
    first, second = (make_reid(override(tiny, settings)) for _ in range(2))
    for _ in range(3):
        first.optimizer.step()
        first.end_epoch()
    second.load_state(copy.deepcopy(first.state()))
    for task in (first, second):
        task.optimizer.step()
        task.end_epoch()
    rates = [[g["lr"] for g in task.optimizer.param_groups] for task in (first, second)]
    assert rates[0] == rates[1]
