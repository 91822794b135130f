"""Evaluate each trial with its own weights, as Ray tasks.

A task embeds a trial's test images; others rank one search each. All tasks of all trials, modes, shots
and gallery draws are submitted at once.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import NamedTuple

import ray
import torch
from rich.console import Console

from tsme.config import Config, EvaluationConfig, Precision, ResourcesConfig
from tsme.data.image_cache import ImageCache
from tsme.data.types import Trial
from tsme.errors import failure
from tsme.evaluation.evaluator import embed_trial, require_own_weights, score_search
from tsme.evaluation.features import Embeddings
from tsme.evaluation.inspection import Translations, inspect_trial, translate_examples
from tsme.evaluation.protocols import Search
from tsme.evaluation.results import FIGURES, EvaluationResult
from tsme.models.checkpoint import Provenance, load_model
from tsme.report.tables import result_lines
from tsme.storage.atomic import read_json, write_json
from tsme.storage.object_store import AnyPath
from workflows.bars import progress_bars
from workflows.cluster.resources import worker_task
from workflows.run import WorkflowRun


class Embedded(NamedTuple):
    """Embeddings of a trial's test images by `flip`; translations of some of them, if asked for."""

    provenance: Provenance
    embeddings: dict[bool, Embeddings]
    translations: Translations


class EvaluationJob(NamedTuple):
    """Weights to evaluate by `searches` on a trial's test identities.

    The weights are a file that every node can read, or a reference to the file's content. `inspection`
    is the file that keeps what the report shows of the trial; without one, nothing is kept.
    """

    trial: int
    weights: AnyPath | ray.ObjectRef
    searches: list[Search]
    evaluation: EvaluationConfig
    inspection: AnyPath | None = None


def evaluate_trials(
    run: WorkflowRun, weights: Mapping[int, AnyPath], searches: Mapping[int, list[Search]]
) -> list[EvaluationResult]:
    """Evaluate the weights of each trial by its searches; both are keyed by trial."""
    jobs = {
        f"trial {n:02d}": EvaluationJob(
            n, file, searches[n], run.config.evaluation, file.with_name(f"inspection-{file.stem}.json")
        )
        for n, file in weights.items()
    }
    return [row for rows in evaluate_jobs(run, jobs).values() for row in rows]


def evaluate_jobs(
    run: WorkflowRun, jobs: Mapping[str, EvaluationJob]
) -> dict[str, list[EvaluationResult]]:
    """Rows by label; weights that were evaluated in the same way before are not evaluated again."""
    keys = {label: f"{job.weights.stem}-{_evaluation_key(job)}" for label, job in jobs.items()}
    files = {
        label: job.weights.with_name(f"evaluation-{keys[label]}.json") for label, job in jobs.items()
    }
    unfinished = {label: job for label, job in jobs.items() if not files[label].exists()}
    with run.step("evaluate", total=len(unfinished)):
        finished = run_evaluations(unfinished, run.images, run.config.resources, console=run.console)
        for done, (label, rows) in enumerate(finished, 1):
            run.status.count(done)
            name, key = f"{label} stage 3 evaluation", f"evaluation {keys[label]}"
            child = run.mlflow_run.child(name, key, {"trial": jobs[label].trial})
            for row in rows:
                figures = {f"{row.protocol}/{figure}": getattr(row, figure) for figure in FIGURES}
                child.log_metrics(figures, step=row.draw or 0)
            child.close()
            write_json(files[label], [row.to_json() for row in rows])
    return {label: [EvaluationResult(**row) for row in read_json(file)] for label, file in files.items()}


def _evaluation_key(job: EvaluationJob) -> str:
    """Digest of the evaluation's settings and of the images in its galleries."""
    galleries = [zlib.crc32(search.gallery.tobytes()) for search in job.searches]
    return Config(evaluation=job.evaluation).digest("evaluation", galleries=galleries)


def run_evaluations(
    jobs: Mapping[str, EvaluationJob],
    images: ImageCache,
    resources: ResourcesConfig,
    *,
    console: Console,
    cross_trial: bool = False,
) -> Iterator[tuple[str, list[EvaluationResult]]]:
    """Labels and rows of the jobs, in the order in which they finish; their headline figures are printed.

    A task is retried if its worker dies or a store does not answer. Raises UserError if weights were
    trained on test identities and `cross_trial` is not set, else JobFailed with the label.
    """
    refs = {label: _submit(job, images, resources, cross_trial) for label, job in jobs.items()}
    label_of = {ref: label for label, each in refs.items() for ref in each}
    waiting = list(label_of)
    left = {label: len(each) for label, each in refs.items()}
    with progress_bars(console) as bars:
        bar = bars.add_task("searches", total=len(waiting), summary="")
        while waiting:
            (ready, *_), waiting = ray.wait(waiting)
            label = label_of[ready]
            try:
                ray.get(ready)
            except ray.exceptions.RayError as error:
                for ref in waiting:
                    ray.cancel(ref, force=True)
                raise failure(error, f"evaluation of {label}") from None
            bars.advance(bar)
            left[label] -= 1
            if not left[label]:
                rows = [row for row in ray.get(refs[label]) if row is not None]
                for line in result_lines(label, rows):
                    console.print(line, soft_wrap=True)
                yield label, rows


def _submit(
    job: EvaluationJob, images: ImageCache, resources: ResourcesConfig, cross_trial: bool
) -> list[ray.ObjectRef]:
    """Submit a job's tasks; returns references to its rows, and to None for its inspection."""
    evaluation = job.evaluation
    trial, images_ref = ray.put(images.dataset.trial(job.trial)), ray.put(images)
    flips = (False, True) if evaluation.flip else (False,)
    embed = worker_task(_embed, resources)
    rank = ray.remote(num_cpus=resources.cpus, max_retries=2)(_rank)
    embedded = embed.remote(
        job.weights, trial, images_ref, flips, evaluation.precision, resources, cross_trial,
        job.inspection is not None,
    )  # fmt: skip
    reranks = (False, True) if evaluation.rerank else (False,)
    tasks = [
        rank.remote(embedded, trial, search, flip, rerank)
        for search, flip, rerank in product(job.searches, flips, reranks)
    ]
    if job.inspection is not None:
        inspect = worker_task(_inspect, resources.model_copy(update={"gpus": 0}))
        tasks.append(inspect.remote(embedded, trial, images_ref, job.searches, job.inspection))
    return tasks


def _embed(
    weights: AnyPath | bytes,
    trial: Trial,
    images: ImageCache,
    flips: tuple[bool, ...],
    precision: Precision,
    resources: ResourcesConfig,
    cross_trial: bool,
    translated: bool,
) -> Embedded:
    torch.set_num_threads(resources.cpus)
    device = torch.device("cuda" if resources.gpus else "cpu")
    with _as_file(weights) as file:
        model = load_model(file, device)
    if not cross_trial:
        require_own_weights(model.provenance, trial)
    embeddings = embed_trial(model, images.split(trial.test), device, flips=flips, precision=precision)
    examples = translate_examples(model.generators, images, trial, device) if translated else {}
    return Embedded(model.provenance, embeddings, examples)


@contextmanager
def _as_file(weights: AnyPath | bytes) -> Iterator[AnyPath]:
    """Weights as a file; a temporary one if their content was sent."""
    if not isinstance(weights, bytes):
        yield weights
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(weights)
        file.flush()
        yield Path(file.name)


def _rank(embedded: Embedded, trial: Trial, search: Search, flip: bool, rerank: bool) -> EvaluationResult:
    metrics = score_search(embedded.embeddings[flip], trial.test, search, reranked=rerank)
    return EvaluationResult.of(metrics, search, trial, embedded.provenance, flip=flip, rerank=rerank)


def _inspect(
    embedded: Embedded, trial: Trial, images: ImageCache, searches: list[Search], file: AnyPath
) -> None:
    """Write what the report shows of the trial's embeddings, without flip and re-ranking."""
    embeddings, key = embedded.embeddings[False], embedded.provenance.key
    inspection = inspect_trial(embeddings, embedded.translations, images, trial, key, searches)
    write_json(file, inspection.model_dump(mode="json"))
