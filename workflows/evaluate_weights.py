"""`tsme test`: evaluate weights from files or from the registry, as the workflow does."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import ray
from rich.console import Console

from tsme.config import DatasetName, EvaluationConfig, ResourcesConfig
from tsme.data.datasets.registry import open_dataset
from tsme.errors import UserError
from tsme.evaluation.protocols import DESCRIPTIONS, searches
from tsme.evaluation.results import EvaluationResult, summarise
from tsme.models.checkpoint import read_provenance
from tsme.report.tables import result_lines
from tsme.serving import model_files
from tsme.storage.object_store import AnyPath, any_path
from workflows.cluster.resources import cpus_per_worker, fit_resources
from workflows.cluster.session import cluster
from workflows.run import read_images
from workflows.steps.evaluate import EvaluationJob, evaluate
from workflows.tracking import registry
from workflows.tracking.server import tracking_uri


def test_weights(
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

    "trained_on" is the fingerprint of the data they learnt from. Raises UserError if there are none,
    if they are for another kind of data set, or if they belong to another trial and `cross_trial` is
    not set.
    """
    with tempfile.TemporaryDirectory() as folder:
        if weights.startswith("models:/"):
            files = model_files(registry.fetch(weights, tracking_uri(Path.cwd()), Path(folder)))
        elif (path := any_path(weights).resolve()).is_dir():
            files = model_files(path)
        else:
            files = {read_provenance(path).trial: path}
        return _test_files(
            dataset, data.resolve(), _for_trial(files, trial), evaluation, cross_trial, console
        )


def _for_trial(files: dict[int, AnyPath], trial: int | None) -> dict[int, AnyPath]:
    """Which weights score which trial: its own where there are any, else the only ones given."""
    if trial is None:
        return files
    if trial in files:
        return {trial: files[trial]}
    if len(files) == 1:  # refused later, naming both trials, unless it was asked for
        return {trial: next(iter(files.values()))}
    raise UserError(f"--trial {trial}: there are weights of trials {', '.join(map(str, files))}")


def _test_files(
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
    pixels = read_images(opened, list(files), provenance.config.image, console)
    wanted = {number: searches(opened, opened.trial(number), evaluation) for number in files}
    labels = {number: f"trial {number:02d}" for number in files}
    with cluster():
        # The same threads as in training's own evaluation: sums then come out the same to the digit.
        cpus = cpus_per_worker(provenance.config.resources.cpus)
        alone = provenance.config.model_copy(update={"resources": ResourcesConfig(cpus=cpus)})
        resources = fit_resources(alone, console).resources
        found: dict[str, list[EvaluationResult]] = {}
        # Files of this machine may be on no other node's disk.
        sent = {n: ray.put(path.read_bytes()) if isinstance(path, Path) else path
                for n, path in files.items()}  # fmt: skip
        jobs = {
            labels[n]: EvaluationJob(n, weights, wanted[n], evaluation) for n, weights in sent.items()
        }
        for label, rows_of_trial, _ in evaluate(
            jobs, pixels, resources, console=console, cross_trial=cross_trial
        ):
            for line in result_lines(label, rows_of_trial):
                console.print(line, soft_wrap=True)
            found[label] = rows_of_trial
    rows = [row for number in files for row in found[labels[number]]]
    return {
        "dataset": dataset,
        "protocol": DESCRIPTIONS[dataset] + "; weights of another trial allowed" * cross_trial,
        "config": provenance.config.model_dump(mode="json"),
        "evaluation": evaluation.model_dump(mode="json"),
        "data": str(data),
        "data_fingerprint": pixels.fingerprint,
        "trained_on": provenance.fingerprint,
        "trials": [row.to_json() for row in rows],
        "summary": summarise(rows),
    }
