"""Checkpoints are written every epoch while that is cheap, and take at most a tenth of the time."""

from __future__ import annotations

import pytest

from workflows.cluster import checkpoint_interval
from workflows.cluster.checkpoint_interval import CheckpointInterval

MIB = 2**20


def checkpointed_epochs(
    monkeypatch: pytest.MonkeyPatch, size: int, epoch: float, writing: float, waiting: float
) -> list[int]:
    """The epochs, of 60, after which a checkpoint of `size` MiB is written; all times in seconds."""
    now = 100.0
    monkeypatch.setattr(checkpoint_interval.time, "monotonic", lambda: now)
    interval, epochs = CheckpointInterval(), []
    for number in range(1, 61):
        now += epoch
        if interval.due:
            now += writing + waiting
            interval.record(size * MIB, writing, waiting)
            epochs.append(number)
    return epochs


@pytest.mark.parametrize(
    ("size", "epoch", "writing", "waiting"),
    [(10, 0.3, 0.5, 0.9), (850, 0.3, 0.02, 0.9), (850, 60.0, 2.0, 4.0)],
)
def test_small_or_quick_checkpoints_are_written_every_epoch(monkeypatch, size, epoch, writing, waiting):
    """Ray Train notices an upload within a second; that second does not count as cost."""
    assert checkpointed_epochs(monkeypatch, size, epoch, writing, waiting) == list(range(1, 61))


@pytest.mark.parametrize(("epoch", "writing", "waiting"), [(2.0, 2.0, 0.2), (4.0, 1.0, 21.0)])
def test_slow_checkpoints_take_at_most_a_tenth_of_the_time(
    monkeypatch, epoch: float, writing: float, waiting: float
):
    epochs = checkpointed_epochs(monkeypatch, 850, epoch, writing, waiting)
    assert epochs[0] == 1
    trained = epoch * (epochs[-1] - epochs[0])
    cost = (writing + max(0.0, waiting - checkpoint_interval.POLL_SECONDS)) * (len(epochs) - 1)
    assert 0 < cost <= 0.1 * (trained + cost) < cost * 1.5
