"""Evaluation: a Ray task for each trial, all trials in parallel, each with its own weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import torch

from tsme.config import Resources
from tsme.data.regdb import read_trial
from tsme.errors import JobFailed, UserError
from tsme.evaluation.trials import FIGURES, Row, evaluate_trial
from tsme.models.bundle import load_model
from workflows.tracking import Run


def _evaluate(
    weights: Path, data: Path, trial: int, resources: Resources, cross_trial: bool, run: Run | None
) -> list[Row]:
    torch.set_num_threads(resources.cpus)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
) -> list[Row]:
    """Both directions of every trial in `weights`, each with the weights given for it.

    Rows come in order of trials; `runs` are the MLflow runs they are logged to. Raises UserError as
    `evaluate_trial` does, else JobFailed naming the trial.
    """
    task = ray.remote(
        num_cpus=resources.cpus,
        num_gpus=min(resources.gpus or 0, 1),
        max_retries=2,
        retry_exceptions=[OSError],
    )(_evaluate)
    pending = {
        task.remote(path, data, trial, resources, cross_trial, (runs or {}).get(trial)): trial
        for trial, path in weights.items()
    }
    rows: dict[int, list[Row]] = {}
    waiting: list[Any] = list(pending)
    while waiting:
        (ready, *_), waiting = ray.wait(waiting)
        trial = pending[ready]
        try:
            rows[trial] = ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            for other in waiting:
                ray.cancel(other, force=True)
            for number, run in (runs or {}).items():
                if number not in rows:
                    run.close("FAILED")
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from None
            raise JobFailed(f"evaluation of trial {trial}: {error.cause}") from error
    return [row for trial in weights for row in rows[trial]]
