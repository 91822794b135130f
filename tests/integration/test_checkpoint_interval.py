"""Checkpoints after every epoch while that costs little, and never more than a tenth of the time."""

from __future__ import annotations

import pytest

from workflows.cluster import checkpoint_interval as interval
from workflows.cluster.checkpoint_interval import CheckpointInterval

MIB = 2**20


def written(
    monkeypatch: pytest.MonkeyPatch, size: int, epoch: float, writing: float, waiting: float
) -> list[int]:
    """After which of 60 epochs a checkpoint of `size` MiB is written; all times in seconds."""
    now = 100.0
    monkeypatch.setattr(interval.time, "monotonic", lambda: now)
    ours, epochs = CheckpointInterval(), []
    for number in range(1, 61):
        now += epoch
        if ours.due:
            now += writing + waiting
            ours.wrote(size * MIB, writing, waiting)
            epochs.append(number)
    return epochs


@pytest.mark.parametrize(
    ("size", "epoch", "writing", "waiting"),
    [(10, 0.3, 0.5, 0.9), (850, 0.3, 0.02, 0.9), (850, 60.0, 2.0, 4.0)],
)
def test_small_or_quick_ones_are_written_after_every_epoch(monkeypatch, size, epoch, writing, waiting):
    """Ray notices within a second what is ready, which is no reason to write less."""
    assert written(monkeypatch, size, epoch, writing, waiting) == list(range(1, 61))


@pytest.mark.parametrize(("epoch", "writing", "waiting"), [(2.0, 2.0, 0.2), (4.0, 1.0, 21.0)])
def test_dear_ones_take_a_tenth_of_the_time(monkeypatch, epoch: float, writing: float, waiting: float):
    epochs = written(monkeypatch, 850, epoch, writing, waiting)
    assert epochs[0] == 1
    trained = epoch * (epochs[-1] - epochs[0])
    cost = (writing + max(0.0, waiting - interval.LOOK)) * (len(epochs) - 1)
    assert 0 < cost <= 0.1 * (trained + cost) < cost * 1.5
