"""The training loop of all stages: a generator that yields each epoch's result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from tsme.errors import JobFailed
from tsme.seeding import derive
from tsme.training.distributed import Worker


class Diverged(JobFailed):
    """Training has failed: a loss became NaN or infinite, or a generator collapsed."""


class Task(Protocol):
    """A stage's networks, batches and optimisers, as `fit` uses them.

    `lr_key` is the configuration key of its learning rate, if there is one.
    """

    stage: str
    epochs: int
    seed: int
    lr_key: str | None

    def step_batches(self, epoch: int) -> Iterator[Any]:
        """This worker's batches of one epoch (1-based)."""

    def step(self, batch: Any) -> dict[str, Tensor]:
        """One optimisation step; returns its loss terms by name, detached."""

    def end_epoch(self) -> dict[str, float]:
        """Step the schedules; returns measurements of the networks by name."""

    def preview(self) -> Tensor | None:
        """A picture (3, H, W) uint8 of the networks' outputs, if the stage has any to show."""

    def state(self) -> dict[str, Any]:
        """Everything needed to resume after this epoch, as tensors and plain values."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""


@dataclass(frozen=True)
class EpochResult:
    """One epoch of one stage: mean loss terms over its steps, measurements, and its checkpoint.

    `seconds` is the duration of the epoch. `checkpoint` refers to the tensors being trained: save it
    before the next epoch starts.
    """

    stage: str
    epoch: int
    epochs: int
    losses: dict[str, float]
    metrics: dict[str, float]
    seconds: float
    preview: Tensor | None = None
    checkpoint: dict[str, Any] = field(default_factory=dict)


def fit(task: Task, worker: Worker, *, done: int = 0) -> Iterator[EpochResult]:
    """Train from epoch `done` + 1 to the task's last.

    Raises Diverged, naming the loss term and the epoch, if a loss is not finite. Nothing is yielded for
    that epoch, so the latest checkpoint is that of the epoch before.
    """
    for epoch in range(done + 1, task.epochs + 1):
        began = time.perf_counter()
        # Dropout draws from the global generator: seed it for each epoch, so that resuming repeats it.
        torch.manual_seed(derive(task.seed, task.stage, epoch, worker.rank))
        losses = _mean_losses(task, worker, epoch)
        metrics = task.end_epoch()
        yield EpochResult(
            stage=task.stage,
            epoch=epoch,
            epochs=task.epochs,
            losses=losses,
            metrics=metrics,
            seconds=time.perf_counter() - began,
            preview=task.preview(),
            checkpoint={"stage": task.stage, "epoch": epoch, "task": task.state()},
        )


def _mean_losses(task: Task, worker: Worker, epoch: int) -> dict[str, float]:
    """Run an epoch's steps; sums stay on the device, so that no step waits for it."""
    sums: Tensor | None = None
    names: list[str] = []
    steps = 0
    for batch in task.step_batches(epoch):
        terms = task.step(batch)
        names = list(terms)
        values = torch.stack(list(terms.values()))
        sums = values if sums is None else sums + values
        steps += 1
    assert sums is not None, "an epoch has at least one step"
    means = dict(zip(names, worker.mean(sums / steps).tolist(), strict=True))
    for name, value in means.items():
        if not torch.isfinite(torch.tensor(value)):
            key = f" ({task.lr_key})" if task.lr_key else ""
            raise Diverged(
                f"{task.stage}: the loss {name} is {value} in epoch {epoch}; lower the learning rate{key}"
            )
    return means
