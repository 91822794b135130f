"""Ray Train runs several trainings, one after the other, in one group of workers.

Starting workers takes longer than training a small trial, so a group is started once for all of its
trainings.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from ray.actor import ActorHandle

from tsme.errors import UserError, failure
from tsme.storage.object_store import AnyPath, store_errors
from tsme.training.distributed import Worker
from tsme.training.loop import Diverged, EpochResult
from tsme.training.stages import run_stages
from tsme.training.trial import TrialTraining
from workflows.cluster.failures import FailureCallback
from workflows.cluster.trainer import build_trainer
from workflows.steps.epochs import Checkpoints, EpochLog, load_checkpoint, run_and_report
from workflows.tracking.runs import MlflowRun

# Workers lost before the group gives up; after each, training continues from the last checkpoint.
MAX_FAILURES = 3


@dataclass(frozen=True)
class TrainJob:
    """A training, its label for messages, and the MLflow run of each of its stages."""

    training: TrialTraining
    label: str
    runs: dict[str, MlflowRun]


def train_group(jobs: list[TrainJob], board: ActorHandle, name: str, storage: AnyPath) -> None:
    """Train the jobs in turn with Ray Train; each leaves its result files.

    Called again with the same name and storage, it continues from the last checkpoint. Raises UserError
    or JobFailed with the cause.
    """
    trainer = build_trainer(
        train_worker,
        # A reference, so that Ray Train's controller process does not import what the jobs need.
        {"jobs": ray.put(jobs), "board": board},
        jobs[0].training.config.resources,
        ray.train.RunConfig(
            name=name,
            storage_path=str(storage),
            # Without this limit the controller would wait forever for a GPU that does not exist.
            failure_config=ray.train.FailureConfig(
                max_failures=MAX_FAILURES, controller_failure_limit=MAX_FAILURES
            ),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            callbacks=[FailureCallback(name, board)],
        ),
    )
    try:
        with store_errors(storage):
            trainer.fit()
    except ray.train.TrainingFailedError as error:
        failures = list(getattr(error, "worker_failures", {}).values())
        first = failures[0] if failures else getattr(error, "controller_failure", error)
        raise failure(first, f"training {name}") from error


def train_worker(parameters: dict[str, Any]) -> None:
    """Runs in every worker of the group."""
    jobs: list[TrainJob] = ray.get(parameters["jobs"])
    context = ray.train.get_context()
    worker = Worker(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    torch.set_num_threads(jobs[0].training.config.resources.cpus)
    say = parameters["board"].post.remote if worker.is_main else _silent
    state = load_checkpoint(ray.train.get_checkpoint(), say)
    if not worker.broadcast(state is not None):  # all workers start where the main one does
        state = None
    with tempfile.TemporaryDirectory(prefix="tsme-checkpoints-") as folder:
        checkpoints = Checkpoints(Path(folder), ("dsgan", "reid"), _wait_for_uploads)
        for job in jobs:
            if not worker.broadcast(job.training.is_done()):
                train_job(job, worker, parameters["board"], state, checkpoints)
        _wait_for_uploads()  # before their folder is deleted


def _silent(message: str) -> None:
    """Print nothing: the main worker reports what all of them find."""


def _wait_for_uploads() -> None:
    """Block until every reported checkpoint is in storage."""
    ray.train.get_all_reported_checkpoints(consistency_mode=ray.train.CheckpointConsistencyMode.COMMITTED)


def train_job(
    job: TrainJob,
    worker: Worker,
    board: ActorHandle,
    state: dict[str, Any] | None,
    checkpoints: Checkpoints,
) -> None:
    """Train one job from `state`, if that is one of its own; the main worker closes its MLflow runs."""
    training, key = job.training, job.training.model_key
    log = EpochLog(job.label, job.runs, board) if worker.is_main else None
    open_runs = dict(job.runs) if worker.is_main else {}
    if log is not None:
        log.log_place(training.config, worker)

    def report(result: EpochResult, checkpoint: ray.train.Checkpoint | None) -> None:
        ray.train.report(
            result.losses,
            checkpoint=checkpoint,
            # The key tells apart several trainings of one trial.
            checkpoint_dir_name=f"trial{training.trial:02d}-{key}-{result.stage}-{result.epoch:04d}",
            checkpoint_upload_mode=ray.train.CheckpointUploadMode.ASYNC,
            delete_local_checkpoint_after_upload=True,
        )
        if result.epoch == result.epochs and result.stage in open_runs:
            open_runs.pop(result.stage).close()

    try:
        results = run_stages(training, worker, state if state and state["key"] == key else None)
        keyed = (replace(each, checkpoint=each.checkpoint | {"key": key}) for each in results)
        run_and_report(keyed, log, report, checkpoints if worker.is_main else None)
    except (UserError, Diverged) as error:
        raise type(error)(f"{job.label}: {error}") from error
    for run in open_runs.values():  # of stages whose files existed before
        run.close()
