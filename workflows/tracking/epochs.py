"""What people are told of an epoch: MLflow's curves and pictures, the terminal's line."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ray.actor import ActorHandle

from tsme.training.distributed import Worker, auto_precision
from tsme.training.loop import EpochResult
from tsme.training.trial import TrialTraining
from workflows.progress import Event
from workflows.tracking.runs import MlflowRun


def log_epoch(run: MlflowRun, result: EpochResult) -> None:
    """Log one epoch to MLflow."""
    run.log_epoch(result)


def epoch_event(label: str, result: EpochResult) -> Event:
    """An epoch for the progress display."""
    words = f"loss {result.losses['total']:.3f}"
    if "val_mAP" in result.metrics:
        words += f", validation mAP {100 * result.metrics['val_mAP']:.1f} %"
    return Event(label, result.stage, result.epoch, result.epochs, words, result.worked, time.time())


def tell_precision(
    label: str, training: TrialTraining, runs: Mapping[str, MlflowRun], worker: Worker, board: ActorHandle
) -> None:
    """Report the precision of stages whose configuration says "auto"."""
    for stage, run in runs.items():
        if getattr(training.config, stage).precision == "auto":
            precision = auto_precision(worker.device)
            board.post.remote(f"{label} {stage}: precision {precision}")
            run.tag({f"{stage}.precision": precision})
