"""The sweep: Optuna proposes samples, ASHA stops bad ones early.

The function that trains a sample is an argument. It reports to Ray Tune:
- `epoch`, from 1; the last epoch if the sample diverged, so that ASHA does not wait for it;
- `trained`, the number of epochs trained;
- `val_mAP`, and the best one so far with its epoch, as `best_mAP` and `best_epoch`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import ray
import ray.tune
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from tsme.config import Config
from tsme.errors import UserError, failure
from tsme.storage.atomic import read_json, write_json
from tsme.storage.object_store import AnyPath, store_errors
from tune.ray_internals import (
    callback_error,
    hide_tracebacks_of_samples,
    keep_secrets_from_samples,
    restored_scheduler,
    sample_job_failed,
    sample_number,
)
from tune.scheduler import ResumableASHA
from tune.spaces import Space, current_point

METRIC = "val_mAP"


@dataclass(frozen=True)
class Sample:
    """A tried configuration: the values it changed, its best validation mAP in [0, 1] and that epoch.

    `epochs` is the number of epochs trained, fewer than configured if it was stopped early.
    """

    name: str
    values: dict[str, float]
    score: float
    epoch: int
    epochs: int


def sweep(
    train_sample: Callable[[dict[str, Any]], None],
    space: Space,
    *,
    config: Config,
    samples: int,
    storage: AnyPath,
    name: str,
) -> list[Sample]:
    """Try `samples` points of the space, starting with the values of `config`; best sample first.

    Called again with the same storage and name, it continues the sweep. Raises UserError or JobFailed if
    every sample failed, UserError if a continued sweep would need other resources per sample.
    """
    resources = {"CPU": _cpus(config), "GPU": config.resources.gpus or 0}

    def train(values: dict[str, Any]) -> None:  # Ray Tune accepts plain functions only
        train_sample(values)

    trainable = ray.tune.with_resources(train, resources)
    hide_tracebacks_of_samples()
    keep_secrets_from_samples()
    with store_errors(storage):
        _check_resources(storage / f"{name}-resources.json", resources)
        if ray.tune.Tuner.can_restore(str(storage / name)):
            tuner = _restored_tuner(trainable, space, storage, name)
        else:
            tuner = _new_tuner(trainable, space, config, samples, storage, name)
        try:
            results = tuner.fit()
        except ray.tune.TuneError as error:
            raise callback_error(error) or error from None
    tried = [_sample(result) for result in results if result.metrics and "best_mAP" in result.metrics]
    if not tried:
        first = next((result.error for result in results if result.error), None)
        raise failure(first or RuntimeError("nothing was reported"), f"all {samples} samples; the first")
    return sorted(tried, key=lambda sample: (-sample.score, sample.name))


def _check_resources(file: AnyPath, resources: dict[str, float]) -> None:
    """Record the resources of a sample; raise UserError if a continued sweep has others.

    Ray Tune would use the recorded ones and ignore those passed to it.
    """
    if not file.exists():
        write_json(file, resources)
    elif (before := read_json(file)) != resources:
        took, takes = (", ".join(f"{n:g} {name}" for name, n in r.items()) for r in (before, resources))
        raise UserError(
            f"{file}: a sample of the sweep stopped there took {took}, now it would take {takes}; resume "
            f"with the same resources, or remove {file.parent} to search anew"
        )


class StopOnJobFailed(ray.tune.Callback):
    """Abort the sweep on JobFailed: other samples would fail the same way."""

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called before a failed sample is tried again; an exception here ends the sweep."""
        error = sample_job_failed(trial)
        if error is not None:
            raise error


def _cpus(config: Config) -> int:
    """CPUs of a sample: as configured; more where `sweep.concurrent` leaves some of a node free."""
    if config.sweep.concurrent is None:
        return config.resources.cpus
    nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    return max(config.resources.cpus, int(max(nodes)) // config.sweep.concurrent)


def _restored_tuner(trainable: Any, space: Space, storage: AnyPath, name: str) -> ray.tune.Tuner:
    tuner = ray.tune.Tuner.restore(
        str(storage / name),
        trainable,
        param_space=space,
        resume_unfinished=True,
        restart_errored=True,
    )
    tables = [result.metrics_dataframe for result in tuner.get_results()]
    reports = [row for table in tables if table is not None for row in table.to_dict("records")]
    restored_scheduler(tuner).replay(sorted(reports, key=lambda report: report["timestamp"]))
    return tuner


def _new_tuner(
    trainable: Any, space: Space, config: Config, samples: int, storage: AnyPath, name: str
) -> ray.tune.Tuner:
    settings = config.sweep
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search: Any = None  # without a space there is one sample and nothing to propose
    if space:
        points = [current_point(config, space)]
        search = OptunaSearch(metric="best_mAP", mode="max", points_to_evaluate=points, seed=config.seed)
        if settings.concurrent is not None:
            search = ConcurrencyLimiter(search, max_concurrent=settings.concurrent)
    scheduler = ResumableASHA(
        time_attr="epoch",
        metric=METRIC,
        mode="max",
        max_t=config.reid.epochs,
        grace_period=min(settings.grace_epochs, config.reid.epochs),
        reduction_factor=settings.reduction,
    )
    return ray.tune.Tuner(
        trainable,
        param_space=space,
        tune_config=ray.tune.TuneConfig(
            search_alg=search,
            scheduler=scheduler,
            reuse_actors=True,  # starting a process takes five seconds
            num_samples=samples,
            trial_name_creator=_sample_name,
            trial_dirname_creator=_sample_name,
        ),
        run_config=ray.tune.RunConfig(
            name=name,
            storage_path=str(storage),
            verbose=0,
            failure_config=ray.tune.FailureConfig(max_failures=2),
            checkpoint_config=ray.tune.CheckpointConfig(num_to_keep=1),
            callbacks=[StopOnJobFailed()],
        ),
    )


def _sample_name(trial: Any) -> str:
    return f"sample-{sample_number(trial):02d}"


def _sample(result: Any) -> Sample:
    metrics = result.metrics
    return Sample(
        name=Path(result.path).name,
        values=dict(metrics["config"]),
        score=float(metrics["best_mAP"]),
        epoch=int(metrics["best_epoch"]),
        epochs=int(metrics["trained"]),
    )
