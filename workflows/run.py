"""A run of the workflow: its options, its folder, its MLflow run, and the time its steps took."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tsme.config import Config, ImageConfig
from tsme.data.datasets.registry import open_dataset
from tsme.data.fingerprint import fingerprint
from tsme.data.image_cache import ImageCache
from tsme.data.types import Dataset, Trial
from tsme.errors import UserError
from tsme.evaluation.protocols import Search, searches
from tsme.storage.atomic import read_json, write_json
from tsme.storage.object_store import AnyPath, RemotePath
from tsme.storage.tensors import set_damaged_aside
from tsme.training.trial import TrialTraining
from workflows import STARTED
from workflows.bars import progress_bars
from workflows.cluster.environment import in_submitted_job, log_place
from workflows.cluster.resources import fit_resources
from workflows.cluster.session import cluster
from workflows.cluster.shared_storage import require_shared
from workflows.status import StatusFile
from workflows.tracking.provenance import command_line
from workflows.tracking.runs import MlflowRun, check_store, experiment_name, open_parent_run
from workflows.tracking.server import redact, sqlite_file, tracking_uri


@dataclass(frozen=True)
class RunOptions:
    """What to run, on which data, and where to write.

    `name` is the MLflow run's. Without `trials`, all trials of the data set are run. `samples` is the
    number of configurations that the sweep tries; with 0 there is no sweep. `resume` continues the run
    in `out`, which must have been started with the same options. `model_name` is the registered model's,
    by default tsme-DATASET.
    """

    name: str
    config: Config
    data: AnyPath
    out: AnyPath
    trials: list[int] | None = None
    samples: int = 0
    resume: bool = False
    model_name: str = ""


@dataclass
class WorkflowRun:
    """An open run in the folder `out`. Without a sweep, `samples` is 1: the configuration as it is."""

    config: Config
    data: AnyPath
    out: AnyPath
    trials: dict[int, Trial]
    images: ImageCache
    mlflow_run: MlflowRun
    console: Console
    samples: int
    model_name: str
    status: StatusFile

    @contextmanager
    def step(
        self, name: str, *, total: int = 0, slots: int = 1, epochs: dict[str, int] | None = None
    ) -> Iterator[None]:
        """Print a step's name and add its seconds to the timeline.

        `total` parts, `slots` of them side by side, that train so many `epochs` by stage: see StepStatus.
        """
        self.console.print(f"[bold]{name}[/bold]")
        self.status.begin(name, total, slots, epochs or {})
        began = time.monotonic()
        yield
        self.add_step(name, time.monotonic() - began)

    def add_step(self, name: str, seconds: float) -> None:
        line = {"step": name, "seconds": round(seconds, 1)}
        write_json(self.out / "timeline.json", [*self.timeline, line])

    @property
    def timeline(self) -> list[dict[str, Any]]:
        """The seconds of every step so far, those before a resume included."""
        file = self.out / "timeline.json"
        return read_json(file) if file.exists() else []

    def searches(self) -> dict[int, list[Search]]:
        """The searches of the protocol, by trial.

        Raises UserError if a trial's test identities do not allow them.
        """
        dataset, evaluation = self.images.dataset, self.config.evaluation
        return {number: searches(dataset, trial, evaluation) for number, trial in self.trials.items()}

    def training(self, config: Config, trial: int, *, only_generators: bool = False) -> TrialTraining:
        """Training of a trial on all of its training identities."""
        return TrialTraining(
            config=config,
            trial=trial,
            train=self.trials[trial].train,
            validation=None,
            images=self.images,
            folder=self.out / "stages",
            only_generators=only_generators,
        )


@contextmanager
def open_run(options: RunOptions, console: Console) -> Iterator[WorkflowRun]:
    """Read the data set, start Ray and open MLflow's parent run; close both when the block ends.

    Raises UserError if the data have a fault, or if `out` contains another run, or a run and `resume` is
    not set.
    """
    mlflow_folder = _check_output(options.config, options.out, options.resume)
    data, out, config = options.data.resolve(), options.out.resolve(), options.config
    dataset = open_dataset(config.dataset, data)
    images = read_images(dataset, options.trials, config.image, console)
    trials = {number: dataset.trial(number) for number in options.trials or dataset.trials}
    identity = _identity(options, list(trials), images.fingerprint)
    previous = _previous_run(out, identity, options.resume)
    if isinstance(out, Path):  # object stores guard what they hold
        for message in set_damaged_aside(out / "stages"):
            console.print(f"note: {message}", soft_wrap=True)
    with StatusFile(out, command_line(), log_place()) as status, ExitStack() as stack:
        with console.status("starting Ray"):
            stack.enter_context(cluster())
            config = fit_resources(config, console)
        with console.status("opening MLflow's records"):
            uri = tracking_uri(mlflow_folder, previous.get("mlflow_uri"))
            mlflow_run = open_parent_run(
                uri, config, options.name, data, images.fingerprint, previous.get("mlflow_run")
            )
        try:
            records = {"mlflow_run": mlflow_run.run_id, "mlflow_uri": redact(uri)}
            write_json(out / "run.json", identity | records)
            require_shared(_local_files(out, uri))
            console.print(
                f"data {images.fingerprint} in {data}\nMLflow run {mlflow_run.run_id} in {redact(uri)}",
                soft_wrap=True,
            )
            samples, model = max(1, options.samples), options.model_name or f"tsme-{config.dataset}"
            run = WorkflowRun(
                config, data, out, trials, images, mlflow_run, console, samples, model, status
            )
            run.add_step("start", time.monotonic() - STARTED)
            yield run
        except BaseException as error:
            mlflow_run.abandon("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        mlflow_run.close_running_children("FINISHED")
        mlflow_run.close()
        with console.status("stopping Ray"):
            stack.close()


def read_images(
    dataset: Dataset, trials: list[int] | None, size: ImageConfig, console: Console
) -> ImageCache:
    """Read every list and image now, so that a fault in the data ends the command at once.

    Raises UserError with the first fault. An incomplete trial is a fault unless `trials` are given.
    """
    faults = dataset.faults if trials is None else ()
    if faults:
        more = f" (and {len(faults) - 1} more: tsme data check)" * (len(faults) > 1)
        raise UserError(f"{dataset.location}/{faults[0]}{more}")
    with progress_bars(console) as bars:

        def bar(title: str) -> Callable[[int, int], None]:
            task = bars.add_task(title, total=None, summary="")
            return lambda done, total: bars.update(task, completed=done, total=total)

        name = fingerprint(dataset, bar("fingerprint"))
        images = ImageCache(dataset, name, size.height, size.width)
        images.prepare(bar("reading images"))
    return images


def _check_output(config: Config, out: AnyPath, resume: bool) -> Path:
    """Raise UserError if results or records cannot be kept; returns the folder for MLflow's own file."""
    if in_submitted_job():
        _check_job_output(out)
    mlflow_folder = out if in_submitted_job() and isinstance(out, Path) else Path.cwd()
    file = out / "run.json"  # a resumed run logs where it logged before
    uri = read_json(file).get("mlflow_uri") if resume and file.exists() else None
    check_store(tracking_uri(mlflow_folder, uri), experiment_name(config))
    if isinstance(out, RemotePath):
        out.mkdir()  # fails now if it cannot be written to
    return mlflow_folder


def _check_job_output(out: AnyPath) -> None:
    """Raise UserError for an output in the working folder of a job, which is deleted with the job."""
    if not out.is_absolute():
        raise UserError(
            f"--out {out}: a submitted job's working folder is deleted with it; give an absolute path"
        )
    if isinstance(out, RemotePath) and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise UserError(
            f"--out {out}: MLflow's file cannot be kept there; name a server in MLFLOW_TRACKING_URI"
        )


def _local_files(out: AnyPath, uri: str) -> dict[Path, str]:
    """Files on this machine that workers need, each with the advice for the case that they lack it."""
    files: dict[Path, str] = {}
    if isinstance(out, Path):
        files[out / "run.json"] = (
            "--out must be a folder that all nodes share, or a URI (s3://bucket/run)"
        )
    if (file := sqlite_file(uri)) is not None:
        files[file] = "name an MLflow server in MLFLOW_TRACKING_URI"
    return files


def _identity(options: RunOptions, trials: list[int], data_fingerprint: str) -> dict[str, Any]:
    """What a resumed run must have in common with the run it resumes."""
    config = options.config
    return {
        "config": config.model_dump(mode="json", exclude={"resources", "evaluation"}),
        "workers": config.resources.workers,
        "trials": trials,
        "samples": options.samples,
        "data_fingerprint": data_fingerprint,
    }


def _previous_run(out: AnyPath, identity: dict[str, Any], resume: bool) -> dict[str, Any]:
    """run.json of the run to resume in `out`; empty if there is no run there.

    Raises UserError if the run there has other options, or if `resume` is not set.
    """
    file = out / "run.json"
    if not file.exists():
        taken = [name for name in ("stages", "ray", "results.json") if (out / name).exists()]
        if taken:
            raise UserError(f"{out}: holds {taken[0]} but no run.json of a run; choose another --out")
        return {}
    if not resume:
        raise UserError(f"{out}: already holds a run; --resume continues it, or choose another --out")
    previous: dict[str, Any] = read_json(file)
    for key, value in identity.items():
        if previous.get(key) != value:
            raise UserError(
                f"{out}: the run there has another {key.replace('_', ' ')}; resume it with the options "
                "it was started with, or choose another --out"
            )
    return previous
