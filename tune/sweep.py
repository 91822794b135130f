"""The sweep: Optuna proposes samples, ASHA stops bad ones early, and a stopped sweep goes on.

What a sample runs is handed in; it reports `epoch` (from 1; the last one if it diverged, so that it is
not waited for), how many it `trained`, `val_mAP`, and the best so far as `best_mAP` and `best_epoch`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import ray
import ray.cloudpickle
import ray.tune
from ray.tune.execution import class_cache
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from tsme.config import Config
from tsme.errors import JobFailed, UserError, failure
from tsme.storage.atomic import read_json, write_json
from tsme.storage.object_store import AnyPath, answering
from tune.spaces import Space, configured

METRIC = "val_mAP"
# Ray Tune would hand these to its samples in a runtime environment, which Ray writes into its logs and
# shows on its dashboard. A node has its own.
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")


@dataclass(frozen=True)
class Sample:
    """A tried configuration: what it changed, its best validation mAP in [0, 1], and at which epoch.

    `epochs` is how far it was trained; fewer than asked for if it was stopped early.
    """

    name: str
    values: dict[str, float]
    score: float
    epoch: int
    epochs: int


def sweep(
    run_sample: Callable[[dict[str, Any]], None],
    space: Space,
    *,
    config: Config,
    samples: int,
    storage: AnyPath,
    name: str,
) -> list[Sample]:
    """Try `samples` points of the space, the configured one first; best sample first.

    Called again with the same storage and name it continues where it was stopped. Raises UserError or
    JobFailed if every sample failed, UserError if a stopped one's samples took other CPUs and GPUs.
    """
    resources = {"CPU": _cpus(config), "GPU": config.resources.gpus or 0}

    def run(values: dict[str, Any]) -> None:  # Ray Tune takes plain functions only
        run_sample(values)

    trainable = ray.tune.with_resources(run, resources)
    path = str(storage / name)
    # A failed sample's traceback lies in the sample's folder; what ends the sweep is one line.
    logging.getLogger("ray.tune.execution.tune_controller").setLevel(logging.CRITICAL)
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(SECRETS)
    with answering(storage):
        _claim(storage / f"{name}-resources.json", resources)
        if ray.tune.Tuner.can_restore(path):
            tuner = ray.tune.Tuner.restore(
                path, trainable, param_space=space, resume_unfinished=True, restart_errored=True
            )
        else:
            tuner = _new_tuner(trainable, space, config, samples, storage, name)
        try:
            results = tuner.fit()
        except ray.tune.TuneError as error:
            raise _ours(error) or error from None
    tried = [_sample(result) for result in results if result.metrics and "best_mAP" in result.metrics]
    if not tried:
        first = next((result.error for result in results if result.error), None)
        raise failure(first or RuntimeError("nothing was reported"), f"all {samples} samples; the first")
    return sorted(tried, key=lambda sample: (-sample.score, sample.name))


def _claim(file: AnyPath, resources: dict[str, float]) -> None:
    """Note what a sample takes; Ray Tune would have a stopped sweep's samples take the same for ever."""
    if not file.exists():
        write_json(file, resources)
    elif (before := read_json(file)) != resources:
        took, takes = (", ".join(f"{n:g} {name}" for name, n in r.items()) for r in (before, resources))
        raise UserError(
            f"{file}: a sample of the sweep stopped there took {took}, now it would take {takes}; resume "
            f"with the same resources, or remove {file.parent} to search anew"
        )


class NoUseTrying(ray.tune.Callback):
    """Ends a sweep whose sample met what the next will meet too: a tracking server gone for good."""

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Raise what the sample raised, if it is a JobFailed; Ray Tune then tries it no more."""
        try:
            error = ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        except (OSError, TypeError):
            return  # it left no exception
        cause = getattr(error, "cause", None)
        if isinstance(cause, JobFailed):
            raise cause


def _ours(error: BaseException | None) -> JobFailed | None:
    """The JobFailed that Ray Tune was handling when it raised the error."""
    while error is not None and not isinstance(error, JobFailed):
        error = error.__context__
    return error


def _cpus(config: Config) -> int:
    """CPUs of a sample: as configured, or more where fewer samples run at once than would fit."""
    if config.sweep.concurrent is None:
        return config.resources.cpus
    nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    return max(config.resources.cpus, int(max(nodes)) // config.sweep.concurrent)


def _new_tuner(
    trainable: Any, space: Space, config: Config, samples: int, storage: AnyPath, name: str
) -> ray.tune.Tuner:
    settings = config.sweep
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search: Any = None  # without a space there is one sample, and nothing to propose
    if space:
        points = [configured(config, space)]
        search = OptunaSearch(metric="best_mAP", mode="max", points_to_evaluate=points, seed=config.seed)
        if settings.concurrent is not None:
            search = ConcurrencyLimiter(search, max_concurrent=settings.concurrent)
    scheduler = ASHAScheduler(
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
            reuse_actors=True,  # a process takes five seconds to start
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
            callbacks=[NoUseTrying()],
        ),
    )


def _sample_name(trial: Any) -> str:
    """sample-01 and so on: Ray Tune numbers its trials at the head of their experiment tag."""
    return f"sample-{int(trial.experiment_tag.split('_')[0]):02d}"


def _sample(result: Any) -> Sample:
    metrics = result.metrics
    return Sample(
        name=Path(result.path).name,
        values=dict(metrics["config"]),
        score=float(metrics["best_mAP"]),
        epoch=int(metrics["best_epoch"]),
        epochs=int(metrics["trained"]),
    )
