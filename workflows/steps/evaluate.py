"""Evaluation as Ray tasks: a trial's images embedd by its own weights, then each search ranked.

All trials, modes, shots and gallery draws are in flight at once.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import ray
import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from tsme.config import EvaluationConfig, Precision, ResourcesConfig
from tsme.data.image_cache import ImageCache
from tsme.data.types import Trial
from tsme.errors import JobFailed, failure
from tsme.evaluation.evaluator import embed_trial, require_own_weights, score_search
from tsme.evaluation.features import Embeddings
from tsme.evaluation.protocols import Search
from tsme.evaluation.results import EvaluationResult
from tsme.models.checkpoint import Provenance, load_model
from tsme.storage.object_store import AnyPath
from workflows.spells import Spell


class EvaluationJob(NamedTuple):
    """Weights to measure on a trial's test identities, by these searches, plain and otherwise as asked for.

    Weights are a file that every node sees, or a reference to its content.
    """

    trial: int
    weights: AnyPath | ray.ObjectRef
    searches: list[Search]
    evaluation: EvaluationConfig


class Evaluated(NamedTuple):
    """An exam's rows, and when its tasks worked."""

    label: str
    rows: list[EvaluationResult]
    worked: list[Spell]


def evaluate(
    jobs: Mapping[str, EvaluationJob],
    pixels: ImageCache,
    resources: ResourcesConfig,
    *,
    console: Console,
    cross_trial: bool = False,
) -> Iterator[Evaluated]:
    """All exams, known by labels such as "trial 01", as they come.

    A task whose worker dies, or is left without an answer by a store, is tried again. Raises UserError
    if weights saw test identities and `cross_trial` is not set, else JobFailed with the label.
    """
    started = {label: _start(job, pixels, resources, cross_trial) for label, job in jobs.items()}
    label_of = {ref: label for label, (_, refs) in started.items() for ref in refs}
    waiting = list(label_of)
    left = {label: len(refs) for label, (_, refs) in started.items()}
    with Progress(
        *Progress.get_default_columns(), MofNCompleteColumn(), console=console, transient=True
    ) as bars:
        bar = bars.add_task("searches", total=len(waiting))
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
                describing, refs = started[label]
                rows, spells = zip(*ray.get(refs), strict=True)
                yield Evaluated(label, list(rows), [ray.get(describing), *spells])


def _start(
    job: EvaluationJob, pixels: ImageCache, resources: ResourcesConfig, cross_trial: bool
) -> tuple[Any, list[Any]]:
    """References to what an exam's tasks will make: when it was embedd; rows, and when each was."""
    evaluation = job.evaluation
    known = ray.put(pixels.dataset.trial(job.trial))
    flips = (False, True) if evaluation.flip else (False,)
    embed = ray.remote(
        num_cpus=resources.cpus,
        num_gpus=resources.gpus or 0,
        num_returns=2,
        max_retries=2,
        retry_exceptions=[JobFailed],
    )(_embed)
    rank = ray.remote(num_cpus=resources.cpus, max_retries=2)(_rank)
    embedd, spell = embed.remote(
        job.weights, known, pixels, flips, evaluation.precision, resources, cross_trial
    )
    ranked = (False, True) if evaluation.rerank else (False,)
    return spell, [
        rank.remote(embedd, known, search, flip, reranked)
        for search, flip, reranked in product(job.searches, flips, ranked)
    ]


@contextmanager
def _file(weights: AnyPath | bytes) -> Iterator[AnyPath]:
    """Weights as a file, of this machine's disk if it is their content that was sent."""
    if not isinstance(weights, bytes):
        yield weights
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(weights)
        file.flush()
        yield Path(file.name)


def _embed(
    weights: AnyPath | bytes,
    trial: Trial,
    pixels: ImageCache,
    flips: tuple[bool, ...],
    precision: Precision,
    resources: ResourcesConfig,
    cross_trial: bool,
) -> tuple[tuple[Provenance, dict[bool, Embeddings]], Spell]:
    began = time.time()
    torch.set_num_threads(resources.cpus)
    device = torch.device("cuda" if resources.gpus else "cpu")
    with _file(weights) as file:
        model = load_model(file, device)
    if not cross_trial:
        require_own_weights(model.provenance, trial)
    images = pixels.split(trial.test)
    embedd = embed_trial(model, images, device, flips=flips, precision=precision)
    return (model.provenance, embedd), (began, time.time())


def _rank(
    embedd: tuple[Provenance, dict[bool, Embeddings]],
    trial: Trial,
    search: Search,
    flip: bool,
    reranked: bool,
) -> tuple[EvaluationResult, Spell]:
    began = time.time()
    provenance, descriptors = embedd
    metrics = score_search(descriptors[flip], trial.test, search, reranked=reranked)
    row = EvaluationResult.of(metrics, search, trial, provenance, flip=flip, rerank=reranked)
    return row, (began, time.time())
