"""Ray Train runs both stages of several trials, one after the other, in one group of workers.

Starting workers takes longer than a small trial trains, so a group is started once for all of its
trials: a lane. The pipeline runs as many lanes side by side as the cluster holds.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from ray.actor import ActorHandle

from tsme.errors import UserError, failure
from tsme.storage.object_store import AnyPath, answering
from tsme.training.distributed import Worker
from tsme.training.loop import Diverged, EpochResult
from tsme.training.stages import run_stages
from tsme.training.trial import TrialTraining
from workflows.cluster.checkpoint_interval import CheckpointInterval
from workflows.cluster.failures import FailureCallback
from workflows.cluster.trainer import build_trainer
from workflows.tracking.epochs import epoch_event, log_epoch, tell_precision
from workflows.tracking.runs import MlflowRun

# A worker may be lost this often before the lane gives up; each time it goes on from the last checkpoint.
MAX_FAILURES = 3
CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class TrainJob:
    """A chain to train, what a person calls it, and the MLflow run of each of its stages."""

    chain: TrialTraining
    label: str
    runs: dict[str, MlflowRun]


def train_lane(jobs: list[TrainJob], board: ActorHandle, name: str, storage: AnyPath) -> None:
    """Train the chains in turn with Ray Train; their products lie where the chains say.

    Called again with the same name and storage, it goes on from the last checkpoint of the chain
    it was in. Raises UserError or JobFailed with the cause.
    """
    trainer = build_trainer(
        _train_worker,
        # A reference: Ray Train's controller, a process of its own, then need not import what is in it.
        {"jobs": ray.put(jobs), "board": board},
        jobs[0].chain.config.resources,
        ray.train.RunConfig(
            name=name,
            storage_path=str(storage),
            # A limit on the controller's own retries: without one it waits for ever for a GPU that
            # does not exist.
            failure_config=ray.train.FailureConfig(
                max_failures=MAX_FAILURES, controller_failure_limit=MAX_FAILURES
            ),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            callbacks=[FailureCallback(name, board)],
        ),
    )
    try:
        with answering(storage):
            trainer.fit()
    except ray.train.TrainingFailedError as error:
        failures = list(getattr(error, "worker_failures", {}).values())
        first = failures[0] if failures else getattr(error, "controller_failure", error)
        raise failure(first, f"training {name}") from error


def _train_worker(parameters: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    with tempfile.TemporaryDirectory(prefix="tsme-checkpoints-") as folder:
        _train_jobs(parameters, Path(folder))
        _wait_for_checkpoints()  # which are sent from the folder


def _wait_for_checkpoints() -> None:
    """Until all that were reported are safe in storage."""
    ray.train.get_all_reported_checkpoints(consistency_mode=ray.train.CheckpointConsistencyMode.COMMITTED)


def _train_jobs(parameters: dict[str, Any], folder: Path) -> None:
    jobs: list[TrainJob] = ray.get(parameters["jobs"])
    context = ray.train.get_context()
    worker = Worker(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    torch.set_num_threads(jobs[0].chain.config.resources.cpus)
    checkpoint = load_checkpoint(ray.train.get_checkpoint())
    interval = CheckpointInterval()
    for job in jobs:
        if worker.broadcast(job.chain.is_done()):
            continue
        mine = checkpoint if checkpoint and checkpoint["key"] == job.chain.model_key else None
        unfinished = dict(job.runs)
        if worker.is_main:
            tell_precision(job.label, job.chain, job.runs, worker, parameters["board"])
        try:
            for result in run_stages(job.chain, worker, mine):
                _report(job, result, worker, parameters["board"], folder, interval)
                if worker.is_main and result.epoch == result.epochs:
                    unfinished.pop(result.stage).close()
        except (UserError, Diverged) as error:
            raise type(error)(f"{job.label}: {error}") from error
        if worker.is_main:  # runs of stages that were there already
            for run in unfinished.values():
                run.close()


def _report(
    job: TrainJob,
    result: EpochResult,
    worker: Worker,
    board: ActorHandle,
    folder: Path,
    interval: CheckpointInterval,
) -> None:
    """Tell MLflow and the driver of an epoch, and hand Ray Train its checkpoint, written in `folder`.

    Ray Train sends checkpoints to storage while the next epoch trains, 850 MB of the published network
    and its momenta. Where one is due after every epoch, an epoch is told of only once the one before is
    safe there, so a run killed at any moment repeats at most one of those it told of.
    """
    due, began = worker.is_main and interval.due, time.monotonic()
    if due:
        _wait_for_checkpoints()
    waited = time.monotonic() - began
    if worker.is_main:
        log_epoch(job.runs[result.stage], result)
        board.post.remote(epoch_event(job.label, result))
    # A lane may hold several chains of one trial.
    name = f"trial{job.chain.trial:02d}-{job.chain.model_key}-{result.stage}-{result.epoch:04d}"
    checkpoint = None
    if due:
        began = time.monotonic()
        (folder / name).mkdir()
        checkpoint = save_checkpoint(result.checkpoint | {"key": job.chain.model_key}, folder / name)
        size = (folder / name / CHECKPOINT).stat().st_size
        interval.record(size, time.monotonic() - began, waited)
    ray.train.report(
        result.losses,
        checkpoint=checkpoint,
        checkpoint_dir_name=name,
        checkpoint_upload_mode=ray.train.CheckpointUploadMode.ASYNC,
        delete_local_checkpoint_after_upload=True,
    )


def save_checkpoint(state: dict[str, Any], folder: Path) -> ray.train.Checkpoint:
    """Write a training state into `folder`."""
    torch.save(state, folder / CHECKPOINT)
    return ray.train.Checkpoint.from_directory(folder)


def load_checkpoint(checkpoint: ray.train.Checkpoint | None) -> dict[str, Any] | None:
    """The state an earlier worker left, on the CPU; nothing but tensors and plain values is read."""
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        path = Path(folder) / CHECKPOINT
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
