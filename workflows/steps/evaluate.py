"""Evaluation as Ray tasks: a trial's images described by its own weights, then each search ranked.

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

from tsme.config import Evaluation, Precision, Resources
from tsme.data.image_cache import PixelStore
from tsme.data.types import Trial
from tsme.errors import JobFailed, failure
from tsme.evaluation.evaluator import Row, describe_trial, refuse_foreign, score, to_row
from tsme.evaluation.features import Descriptors
from tsme.evaluation.protocols import Search
from tsme.models.checkpoint import Origin, load_model
from tsme.storage.object_store import AnyPath
from workflows.spells import Spell


class Exam(NamedTuple):
    """Weights to measure on a trial's test people, by these searches, plain and otherwise as asked for.

    Weights are a file that every node sees, or a reference to its content.
    """

    trial: int
    weights: AnyPath | ray.ObjectRef
    searches: list[Search]
    evaluation: Evaluation


class Evaluated(NamedTuple):
    """An exam's rows, and when its tasks worked."""

    label: str
    rows: list[Row]
    worked: list[Spell]


def evaluate(
    exams: Mapping[str, Exam],
    pixels: PixelStore,
    resources: Resources,
    *,
    console: Console,
    cross_trial: bool = False,
) -> Iterator[Evaluated]:
    """All exams, known by labels such as "trial 01", as they come.

    A task whose worker dies, or is left without an answer by a store, is tried again. Raises UserError
    if weights saw test people and `cross_trial` is not set, else JobFailed with the label.
    """
    started = {label: _start(exam, pixels, resources, cross_trial) for label, exam in exams.items()}
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
    exam: Exam, pixels: PixelStore, resources: Resources, cross_trial: bool
) -> tuple[Any, list[Any]]:
    """References to what an exam's tasks will make: when it was described; rows, and when each was."""
    evaluation = exam.evaluation
    known = ray.put(pixels.dataset.read(exam.trial))
    flips = (False, True) if evaluation.flip else (False,)
    describe = ray.remote(
        num_cpus=resources.cpus,
        num_gpus=resources.gpus or 0,
        num_returns=2,
        max_retries=2,
        retry_exceptions=[JobFailed],
    )(_describe)
    rank = ray.remote(num_cpus=resources.cpus, max_retries=2)(_rank)
    described, spell = describe.remote(
        exam.weights, known, pixels, flips, evaluation.precision, resources, cross_trial
    )
    ranked = (False, True) if evaluation.rerank else (False,)
    return spell, [
        rank.remote(described, known, search, flip, reranked)
        for search, flip, reranked in product(exam.searches, flips, ranked)
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


def _describe(
    weights: AnyPath | bytes,
    trial: Trial,
    pixels: PixelStore,
    flips: tuple[bool, ...],
    precision: Precision,
    resources: Resources,
    cross_trial: bool,
) -> tuple[tuple[Origin, dict[bool, Descriptors]], Spell]:
    began = time.time()
    torch.set_num_threads(resources.cpus)
    device = torch.device("cuda" if resources.gpus else "cpu")
    with _file(weights) as file:
        model = load_model(file, device)
    if not cross_trial:
        refuse_foreign(model.origin, trial)
    images = pixels.split(trial.test)
    described = describe_trial(model, images, device, flips=flips, precision=precision)
    return (model.origin, described), (began, time.time())


def _rank(
    described: tuple[Origin, dict[bool, Descriptors]],
    trial: Trial,
    search: Search,
    flip: bool,
    reranked: bool,
) -> tuple[Row, Spell]:
    began = time.time()
    origin, descriptors = described
    metrics = score(descriptors[flip], trial.test, search, reranked=reranked)
    row = to_row(metrics, search, trial, origin, flip=flip, reranked=reranked)
    return row, (began, time.time())
