"""Run a stream of epochs inside a Ray worker: log each epoch, write checkpoints, report to Ray.

Ray Train's workers, Ray Tune's samples and the pretraining actor all call `run_and_report`.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.actor import ActorHandle

from tsme.config import Config
from tsme.storage.digest import file_digest
from tsme.training.distributed import Worker, auto_precision
from tsme.training.loop import EpochResult
from workflows.cluster.checkpoint_interval import CheckpointInterval
from workflows.progress import Event
from workflows.tracking.runs import MlflowRun

STATE = "checkpoint.pt"
DIGEST = "checkpoint.sha256"

Report = Callable[[EpochResult, ray.train.Checkpoint | None], None]


@dataclass(frozen=True)
class EpochLog:
    """Where the epochs of one training are logged: MLflow runs by stage, and the progress display.

    `label` names the training on the display, for example "trial 01".
    """

    label: str
    runs: Mapping[str, MlflowRun]
    board: ActorHandle

    def log(self, result: EpochResult) -> None:
        """Log an epoch to its stage's MLflow run; show a summary of it."""
        self.runs[result.stage].log_epoch(result)
        summary = f"loss {result.losses['total']:.3f}"
        if "val_mAP" in result.metrics:
            summary += f", validation mAP {100 * result.metrics['val_mAP']:.1f} %"
        self.board.post.remote(
            Event(self.label, result.stage, result.epoch, result.epochs, summary, result.seconds)
        )

    def log_place(self, config: Config, worker: Worker) -> None:
        """Log the host, the device, and the precision of stages whose configuration says "auto"."""
        device = "CPU" if worker.device.type == "cpu" else torch.cuda.get_device_name(worker.device)
        for stage, run in self.runs.items():
            run.tag({"host": platform.node(), "device": device})
            if getattr(config, stage).precision == "auto":
                precision = auto_precision(worker.device)
                self.board.post.remote(f"{self.label} {stage}: precision {precision}")
                run.tag({f"{stage}.precision": precision})


class Checkpoints:
    """Writes training states below `folder`, as often as `CheckpointInterval` allows.

    `stages` are those whose states are saved. `wait_for_uploads` blocks until Ray has uploaded the
    checkpoints reported so far; it is given where Ray uploads in the background.
    """

    def __init__(
        self,
        folder: Path,
        stages: Iterable[str],
        wait_for_uploads: Callable[[], None] | None = None,
    ) -> None:
        self.folder, self.stages, self.wait_for_uploads = folder, frozenset(stages), wait_for_uploads
        self.interval = CheckpointInterval()
        self.size = 0
        self.writing = self.waiting = 0.0  # seconds spent on the current checkpoint
        self.written = 0.0  # time.monotonic()

    def is_due(self, result: EpochResult) -> bool:
        return result.stage in self.stages and self.interval.due

    def wait_for_previous(self) -> None:
        began = time.monotonic()
        if self.wait_for_uploads is not None:
            self.wait_for_uploads()
        self.waiting = time.monotonic() - began

    def write(self, result: EpochResult) -> ray.train.Checkpoint:
        """Write the epoch's state to a new folder."""
        began = time.monotonic()
        file = Path(tempfile.mkdtemp(dir=self.folder)) / STATE
        torch.save(result.checkpoint, file)
        (file.parent / DIGEST).write_text(file_digest(file).hex())
        self.size, self.written = file.stat().st_size, time.monotonic()
        self.writing = self.written - began
        return ray.train.Checkpoint.from_directory(file.parent)

    def reported(self) -> None:
        """Schedule the next checkpoint, after Ray has taken this one."""
        self.waiting += time.monotonic() - self.written
        self.interval.record(self.size, self.writing, self.waiting)


def run_and_report(
    results: Iterable[EpochResult],
    log: EpochLog | None,
    report: Report | None = None,
    checkpoints: Checkpoints | None = None,
) -> None:
    """Train by reading `results`; log each epoch, write its checkpoint if one is due, report both to Ray.

    `log` and `checkpoints` are None on workers other than the main one.
    """
    for result in results:
        due = checkpoints if checkpoints is not None and checkpoints.is_due(result) else None
        if due:
            # Wait for the previous upload before logging an epoch, so that a killed run repeats at most
            # one logged epoch.
            due.wait_for_previous()
        if log:
            log.log(result)
        checkpoint = due.write(result) if due else None
        if report:
            report(result, checkpoint)
        if due:
            due.reported()


def load_checkpoint(
    checkpoint: ray.train.Checkpoint | None, say: Callable[[str], object]
) -> dict[str, Any] | None:
    """The state in a checkpoint, on the CPU; only tensors and plain values are unpickled.

    A damaged checkpoint is reported to `say`; None is returned, and its stage starts again.
    """
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        file, digest = Path(folder) / STATE, Path(folder) / DIGEST
        intact = file.is_file() and digest.is_file() and digest.read_text() == file_digest(file).hex()
        if not intact:
            say(f"{checkpoint.path}: damaged checkpoint, left unused; its stage starts again")
            return None
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return state
