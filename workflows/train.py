"""Ray Train runs a trial's two stages: one `fit()`, so that workers start once for both."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from ray.actor import ActorHandle

from tsme.config import Resources
from tsme.errors import JobFailed, UserError
from tsme.training.chain import Chain, run_chain
from tsme.training.loop import EpochResult, Stage
from tsme.training.worker import Worker
from workflows.progress import Event
from workflows.tracking import Run

# A worker may be lost this often before the run gives up; each time it goes on from the last epoch.
MAX_FAILURES = 3
CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class TrainJob:
    """A chain to train, the MLflow run of each of its stages, and where to tell of progress."""

    chain: Chain
    runs: dict[Stage, Run]
    board: ActorHandle

    @property
    def label(self) -> str:
        """What a person calls it."""
        return f"trial {self.chain.trial:02d}"


def train_trial(job: TrainJob, storage: Path) -> None:
    """Train a trial's chain with Ray Train; its products lie where the chain says.

    Submitted again with the same storage, an unfinished run continues from its last epoch. Raises
    UserError or JobFailed with the cause.
    """
    resources = job.chain.config.resources
    trainer = ray.train.torch.TorchTrainer(
        _train_worker,
        train_loop_config={"job": job},
        scaling_config=scaling(resources),
        run_config=ray.train.RunConfig(
            name=f"trial{job.chain.trial:02d}-{'-'.join(job.chain.stages)}-{job.chain.key}",
            storage_path=str(storage),
            # A limit on the controller's own retries: without one it waits for ever for a GPU that
            # does not exist.
            failure_config=ray.train.FailureConfig(
                max_failures=MAX_FAILURES, controller_failure_limit=MAX_FAILURES
            ),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        for run in job.runs.values():
            run.close("FAILED")
        raise _cause(error, job.label) from error
    for run in job.runs.values():
        run.close()


def scaling(resources: Resources) -> ray.train.ScalingConfig:
    """What Ray Train reserves for each worker."""
    gpus = resources.gpus or 0
    return ray.train.ScalingConfig(
        num_workers=resources.workers,
        use_gpu=gpus > 0,
        resources_per_worker={"CPU": resources.cpus, "GPU": gpus} if gpus else {"CPU": resources.cpus},
    )


def _cause(error: ray.train.TrainingFailedError, label: str) -> Exception:
    """What went wrong in a worker, in the worker's own words."""
    causes = list(getattr(error, "worker_failures", {}).values()) or [error]
    for cause in causes:
        inner = getattr(cause, "cause", None) or cause
        if isinstance(inner, UserError):
            return UserError(f"{label}: {inner}")
    first = getattr(causes[0], "cause", None) or causes[0]
    return JobFailed(f"{label}: {type(first).__name__}: {str(first).strip().splitlines()[-1]}")


def _train_worker(parameters: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    job: TrainJob = parameters["job"]
    context = ray.train.get_context()
    torch.set_num_threads(job.chain.config.resources.cpus)
    worker = Worker(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    for result in run_chain(job.chain, worker, load_checkpoint(ray.train.get_checkpoint())):
        if worker.leads:
            log_epoch(job.runs[result.stage], result)
            job.board.post.remote(describe(job.label, result))
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = save_checkpoint(result, Path(folder)) if worker.leads else None
            ray.train.report(
                result.losses,
                checkpoint=checkpoint,
                checkpoint_dir_name=f"{result.stage}-{result.epoch:04d}",
            )


def save_checkpoint(result: EpochResult, folder: Path) -> ray.train.Checkpoint:
    """Write an epoch's state into `folder`."""
    torch.save(result.checkpoint, folder / CHECKPOINT)
    return ray.train.Checkpoint.from_directory(folder)


def load_checkpoint(checkpoint: ray.train.Checkpoint | None) -> dict[str, Any] | None:
    """The state an earlier worker left, on the CPU; nothing but tensors and plain values is read."""
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(
            Path(folder) / CHECKPOINT, map_location="cpu", weights_only=True
        )
    return state


def log_epoch(run: Run, result: EpochResult) -> None:
    """Losses by name, measurements, speed and the stage's picture of one epoch, to MLflow."""
    losses = {f"loss/{name}": value for name, value in result.losses.items()}
    run.log_metrics(losses | result.metrics | {"epoch_seconds": result.seconds}, step=result.epoch)
    if result.preview is not None:
        run.log_picture(result.preview, f"translations/epoch_{result.epoch:03d}.png")


def describe(label: str, result: EpochResult) -> Event:
    """An epoch for the progress display."""
    words = f"loss {result.losses['total']:.3f}"
    if "val_mAP" in result.metrics:
        words += f", validation mAP {100 * result.metrics['val_mAP']:.1f} %"
    return Event(label, result.stage, result.epoch, result.epochs, words)
