"""Evaluation: a Ray task for each trial, all trials in parallel, each with its own weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
import torch

from tsme.config import Resources
from tsme.data.regdb import read_trial
from tsme.errors import failure
from tsme.evaluation.trials import FIGURES, Row, evaluate_trial
from tsme.models.bundle import load_model
from workflows.tracking import Run


def _evaluate(
    weights: Path, data: Path, trial: int, resources: Resources, cross_trial: bool, run: Run | None
) -> list[Row]:
    torch.set_num_threads(resources.cpus)
    device = torch.device("cuda" if resources.gpus else "cpu")
    model = load_model(weights, device)
    rows = evaluate_trial(model, read_trial(data, trial), device, cross_trial=cross_trial)
    if run is not None:
        for row in rows:
            run.log_metrics({f"{row.direction}/{name}": getattr(row, name) for name in FIGURES})
        run.close()
    return rows


def evaluate_trials(
    weights: Mapping[int, Path],
    data: Path,
    resources: Resources,
    *,
    runs: Mapping[int, Run] | None = None,
    cross_trial: bool = False,
) -> Iterator[tuple[int, list[Row]]]:
    """Both directions of every trial in `weights`, each with the weights given for it, as they come.

    `runs` are the MLflow runs they are logged to. A task whose worker dies is tried again. Raises
    UserError as `evaluate_trial` does, else JobFailed naming the trial.
    """
    task = ray.remote(num_cpus=resources.cpus, num_gpus=min(resources.gpus or 0, 1), max_retries=2)(
        _evaluate
    )
    pending = {
        task.remote(path, data, trial, resources, cross_trial, (runs or {}).get(trial)): trial
        for trial, path in weights.items()
    }
    waiting: list[Any] = list(pending)
    while waiting:
        (ready, *_), waiting = ray.wait(waiting)
        trial = pending[ready]
        try:
            yield trial, ray.get(ready)
        except ray.exceptions.RayError as error:
            for left in waiting:
                ray.cancel(left, force=True)
            raise failure(error, f"evaluation of trial {trial}") from None
