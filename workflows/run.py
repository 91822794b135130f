"""A run of the workflow in its folder: opened and checked, described by run.json, closed at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from tsme.config import Config, ImageConfig
from tsme.data.datasets.registry import open_dataset
from tsme.data.fingerprint import fingerprint
from tsme.data.image_cache import ImageCache
from tsme.data.types import Dataset, Trial
from tsme.errors import UserError
from tsme.evaluation.protocols import Search, searches
from tsme.storage.atomic import read_json, write_json
from tsme.storage.object_store import AnyPath, RemotePath
from tsme.training.trial import TrialTraining
from workflows import BEGAN
from workflows.cluster.environment import in_submitted_job
from workflows.cluster.resources import fit_resources
from workflows.cluster.session import cluster
from workflows.cluster.shared_storage import require_shared
from workflows.spells import Spell, worked
from workflows.tracking.runs import MlflowRun, check_store, experiment_name, open_parent_run
from workflows.tracking.server import redact, sqlite_file, tracking_uri


@dataclass
class WorkflowRun:
    """A run of the workflow in the folder `out`."""

    config: Config
    data: AnyPath
    out: AnyPath
    trials: dict[int, Trial]
    pixels: ImageCache
    mlflow_run: MlflowRun
    console: Console
    samples: int

    @contextmanager
    def step(self, name: str) -> Iterator[list[Spell]]:
        """Announce a step and note its duration in the run's timeline, which resuming continues.

        The block adds to the list when its workers worked.
        """
        self.console.print(f"[bold]{name}[/bold]")
        spells: list[Spell] = []
        began = time.monotonic()
        yield spells
        self.note(name, time.monotonic() - began, worked(spells))

    def note(self, name: str, seconds: float, worked: float) -> None:
        """Add a line to the timeline."""
        line = {"step": name, "seconds": round(seconds, 1), "worked": round(worked, 1)}
        write_json(self.out / "timeline.json", [*self.timeline, line])

    @property
    def timeline(self) -> list[dict[str, Any]]:
        """The steps so far: their seconds, and for how many of them training, translating, evaluating.

        Of a step whose work goes in lanes side by side, `worked` is the mean over these.
        """
        file = self.out / "timeline.json"
        return read_json(file) if file.exists() else []

    @property
    def overhead(self) -> float:
        """The share of the steps' time in which nobody trained, translated or evaluated."""
        seconds, worked = (sum(step[part] for step in self.timeline) for part in ("seconds", "worked"))
        return round(1 - worked / seconds, 3) if seconds else 0.0

    def searches(self) -> dict[int, list[Search]]:
        """What the protocol asks for, by trial; UserError where the test identities do not allow it."""
        dataset, asked = self.pixels.dataset, self.config.evaluation
        return {number: searches(dataset, trial, asked) for number, trial in self.trials.items()}

    def chain(self, config: Config, trial: int, *, only_generators: bool = False) -> TrialTraining:
        """Training of a trial on all of its training identities."""
        return TrialTraining(
            config=config,
            trial=trial,
            train=self.trials[trial].train,
            validation=None,
            images=self.pixels,
            folder=self.out / "stages",
            only_generators=only_generators,
        )


@contextmanager
def open_run(
    config: Config,
    data: AnyPath,
    out: AnyPath,
    *,
    name: str,
    trials: list[int] | None,
    resume: bool,
    console: Console,
    samples: int = 0,
) -> Iterator[WorkflowRun]:
    """Open a workflow in `out`: data read, Ray up, MLflow's parent run open; closed with the block.

    `samples` of a sweep are a part of what the run is, like configuration, trials and data.

    Raises UserError if `out` holds a run and `resume` is not given, or if it holds another run.
    """
    here = _check_places(config, out, resume)
    data, out = data.resolve(), out.resolve()
    dataset = open_dataset(config.dataset, data)
    pixels = read_images(dataset, trials, config.image, console)
    loaded = {number: dataset.trial(number) for number in trials or dataset.trials}
    identity = {
        "config": config.model_dump(mode="json", exclude={"resources", "evaluation"}),
        "workers": config.resources.workers,
        "trials": list(loaded),
        "samples": samples,
        "data_fingerprint": pixels.fingerprint,
    }
    known = _claim(out, identity, resume)
    with cluster():
        config = fit_resources(config, console)
        uri = tracking_uri(here, known.get("mlflow_uri"))
        mlflow_run = open_parent_run(
            uri, config, name, data, pixels.fingerprint, known.get("mlflow_run")
        )
        try:
            noted = {"mlflow_run": mlflow_run.run_id, "mlflow_uri": redact(uri)}
            write_json(out / "run.json", identity | noted)
            require_shared(_on_this_disk(out, uri))
            say = partial(console.print, soft_wrap=True)
            say(f"data {pixels.fingerprint} in {data}\nMLflow run {mlflow_run.run_id} in {redact(uri)}")
            run = WorkflowRun(config, data, out, loaded, pixels, mlflow_run, console, max(1, samples))
            run.note("start", time.monotonic() - BEGAN, 0.0)
            yield run
        except BaseException as error:
            mlflow_run.abandon("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        mlflow_run.close_running_children("FINISHED")
        mlflow_run.close()


def read_images(
    dataset: Dataset, trials: list[int] | None, size: ImageConfig, console: Console
) -> ImageCache:
    """Every list and image read before anything is spent on them; UserError with the first fault.

    Without `trials`, one that has begun but is not complete is a fault too.
    """
    faults = dataset.faults if trials is None else ()
    if faults:
        more = f" (and {len(faults) - 1} more: tsme data check)" * (len(faults) > 1)
        raise UserError(f"{dataset.location}/{faults[0]}{more}")
    with Progress(console=console, transient=True) as bars:

        def bar(title: str) -> Callable[[int, int], None]:
            task = bars.add_task(title)
            return lambda done, total: bars.update(task, completed=done, total=total)

        name = fingerprint(dataset, bar("fingerprint"))
        pixels = ImageCache(dataset, name, size.height, size.width)
        pixels.prepare(bar("reading images"))
    return pixels


def _check_places(config: Config, out: AnyPath, resume: bool) -> Path:
    """Raise UserError if results or records cannot be kept; the folder of MLflow's own file, if any."""
    if in_submitted_job():
        _require_lasting(out)
    here = out if in_submitted_job() and isinstance(out, Path) else Path.cwd()
    file = out / "run.json"  # a resumed run goes on logging where it did
    known = read_json(file).get("mlflow_uri") if resume and file.exists() else None
    check_store(tracking_uri(here, known), experiment_name(config))
    if isinstance(out, RemotePath):
        out.mkdir()  # or be told now that it cannot be written to
    return here


def _require_lasting(out: AnyPath) -> None:
    """A submitted job's working folder goes with the job, so nothing is to be kept there."""
    if not out.is_absolute():
        raise UserError(
            f"--out {out}: a submitted job's working folder goes with the job; give an absolute path"
        )
    if isinstance(out, RemotePath) and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise UserError(
            f"--out {out}: MLflow's file cannot be kept there; name a server in MLFLOW_TRACKING_URI"
        )


def _on_this_disk(out: AnyPath, uri: str) -> dict[Path, str]:
    """Files that workers need, unless they are in a store; and where else to put each."""
    files: dict[Path, str] = {}
    if isinstance(out, Path):
        files[out / "run.json"] = (
            "--out must be a folder that all nodes share, or a URI (s3://bucket/run)"
        )
    if (file := sqlite_file(uri)) is not None:
        files[file] = "name an MLflow server in MLFLOW_TRACKING_URI"
    return files


def _claim(out: AnyPath, identity: dict[str, Any], resume: bool) -> dict[str, Any]:
    """run.json of the run to continue in `out`, empty for a new one; UserError if it is taken."""
    file = out / "run.json"
    if not file.exists():
        taken = [name for name in ("stages", "ray", "results.json") if (out / name).exists()]
        if taken:
            raise UserError(f"{out}: holds {taken[0]} but no run.json of a run; choose another --out")
        return {}
    if not resume:
        raise UserError(f"{out}: already holds a run; --resume continues it, or choose another --out")
    known: dict[str, Any] = read_json(file)
    for key, value in identity.items():
        if known.get(key) != value:
            raise UserError(
                f"{out}: the run there has another {key.replace('_', ' ')}; resume it with the options "
                "it was started with, or choose another --out"
            )
    return known
