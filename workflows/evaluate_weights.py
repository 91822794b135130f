"""`tsme test`: evaluate weights from files or from the model registry, as the workflow does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray
from rich.console import Console

from tsme.config import Config, DatasetName, EvaluationConfig, ResourcesConfig
from tsme.data.datasets.registry import open_dataset
from tsme.errors import UserError
from tsme.evaluation.protocols import DESCRIPTIONS, searches
from tsme.evaluation.results import summarise
from tsme.models.checkpoint import read_provenance
from tsme.storage.object_store import AnyPath
from workflows.cluster.resources import cpus_per_worker, fit_resources
from workflows.cluster.session import cluster
from workflows.run import read_images
from workflows.steps.evaluate import EvaluationJob, run_evaluations
from workflows.weights import weights_files


def evaluate_weights(
    dataset: DatasetName,
    data: AnyPath,
    weights: str,
    trial: int | None,
    evaluation: EvaluationConfig,
    *,
    cross_trial: bool,
    console: Console,
) -> dict[str, Any]:
    """Figures of the weights at a path or a models:/ URI, in the form of results.json.

    "trained_on" is the fingerprint of their training data. Raises UserError if there are no weights, if
    they were trained for another kind of data set, or if they belong to another trial and `cross_trial`
    is not set.
    """
    with weights_files(weights) as files:
        return _evaluate_files(
            dataset, data.resolve(), _select_trial(files, trial), evaluation, cross_trial, console
        )


def _select_trial(files: dict[int, AnyPath], trial: int | None) -> dict[int, AnyPath]:
    """The weights to evaluate on each trial: the trial's own, or the only ones given."""
    if trial is None:
        return files
    if trial in files:
        return {trial: files[trial]}
    if len(files) == 1:  # refused later, with both trials named, unless cross_trial is set
        return {trial: next(iter(files.values()))}
    raise UserError(f"--trial {trial}: there are weights of trials {', '.join(map(str, files))}")


def _evaluate_files(
    dataset: DatasetName,
    data: AnyPath,
    files: dict[int, AnyPath],
    evaluation: EvaluationConfig,
    cross_trial: bool,
    console: Console,
) -> dict[str, Any]:
    provenance = read_provenance(next(iter(files.values())))
    if provenance.config.dataset != dataset:
        raise UserError(f"--dataset {dataset}: the weights were trained for {provenance.config.dataset}")
    opened = open_dataset(dataset, data)
    images = read_images(opened, list(files), provenance.config.image, console)
    protocol = {number: searches(opened, opened.trial(number), evaluation) for number in files}
    with cluster():
        resources = _resources(provenance.config, console)
        # Other nodes may not see this machine's files, so their content is sent.
        sent = {n: ray.put(path.read_bytes()) if isinstance(path, Path) else path
                for n, path in files.items()}  # fmt: skip
        jobs = {
            f"trial {n:02d}": EvaluationJob(n, each, protocol[n], evaluation) for n, each in sent.items()
        }
        rows_of = dict(run_evaluations(jobs, images, resources, console=console, cross_trial=cross_trial))
    rows = [row for label in jobs for row in rows_of[label]]
    return {
        "dataset": dataset,
        "protocol": DESCRIPTIONS[dataset] + "; weights of another trial allowed" * cross_trial,
        "config": provenance.config.model_dump(mode="json"),
        "evaluation": evaluation.model_dump(mode="json"),
        "data": str(data),
        "data_fingerprint": images.fingerprint,
        "trained_on": provenance.fingerprint,
        "trials": [row.to_json() for row in rows],
        "summary": summarise(rows),
    }


def _resources(config: Config, console: Console) -> ResourcesConfig:
    """One worker with as many threads as in training: sums then have the same digits."""
    cpus = cpus_per_worker(config.resources.cpus)
    one_worker = config.model_copy(update={"resources": ResourcesConfig(cpus=cpus)})
    return fit_resources(one_worker, console).resources
