"""`tsme report`, the page that shows a finished run, and `tsme status`, what a run is doing."""

from __future__ import annotations

import os
import platform
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsme.report.wording import duration
from tsme.storage.atomic import read_json
from tsme.storage.object_store import AnyPath, any_path
from workflows.cli.output import console

if TYPE_CHECKING:
    from workflows.status import RunStatus, StepStatus

SILENT_SECONDS = 120  # without a sign of life; a driver gives one every 30 seconds or more often
RESUMABLE = ("run", "train", "sweep", "ablate")

RunArgument = Annotated[str, typer.Argument(metavar="DIR|URI", help="Folder of the run: its --out.")]


def report(run: RunArgument) -> None:
    """Make report.html of a finished run again, from what the run left in its folder."""
    from tsme.report.page import write_page

    console.print(f"report: {write_page(any_path(run))}", soft_wrap=True)


def status(run: RunArgument) -> None:
    """Show what a run is doing, from any shell or host that sees its folder.

    Its step, what is done, rates, the time left, where it prints, and the disk it uses.
    """
    from workflows.status import read_status

    folder = any_path(run)
    for line in status_lines(folder, read_status(folder), time.time()):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def status_lines(folder: AnyPath, state: RunStatus, now: float) -> Iterator[str]:
    """The text of `tsme status` at the time `now`, in seconds since 1970."""
    ended = state.state != "running" or _is_gone(state, now)
    until = state.updated if ended else now
    yield f"{folder}: {_headline(state, now)}, {duration(until - state.began)} after its start"
    for line in _read(folder / "timeline.json", []):
        yield f"  done   {line['step']}  ({duration(line['seconds'])})"
    if state.step is not None and state.state != "finished":
        yield from _step_lines(state.step, until)
    if state.error:
        yield f"error: {state.error}"
    if isinstance(folder, Path):
        yield f"disk: {_sizes(folder)}"
    records = _read(folder / "run.json", {})
    if "mlflow_run" in records:
        yield f"MLflow: run {records['mlflow_run']} in {records['mlflow_uri']}"
    yield f"log: {state.log or f'the terminal of process {state.pid} on {state.host}'}"
    if state.state == "finished":
        shown = (name for name in ("report.html", "results.json") if (folder / name).exists())
        yield from (f"results: {folder / name}" for name in shown)
    elif ended:
        yield f"continue with: {resume_command(shlex.split(state.command)[1:]) or state.command}"


def resume_command(arguments: list[str]) -> str:
    """The command that continues an interrupted `tsme` with these arguments; empty if there is none."""
    command = next(iter(arguments), "")
    if command in RESUMABLE:
        arguments = arguments if "--resume" in arguments else [*arguments, "--resume"]
    elif command != "demo":
        return ""
    return shlex.join(["tsme", *arguments])


def _headline(state: RunStatus, now: float) -> str:
    if state.state != "running":
        return state.state
    if _is_gone(state, now):
        return f"stopped without a word (process {state.pid} on {state.host})"
    return f"running (process {state.pid} on {state.host})"


def _is_gone(state: RunStatus, now: float) -> bool:
    """Whether the driver of a run that has not ended no longer exists."""
    if platform.node() == state.host and not _exists(state.pid):
        return True
    return now - state.updated > SILENT_SECONDS


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _step_lines(step: StepStatus, until: float) -> Iterator[str]:
    done = f", {step.done} of {step.total} done" if step.total else ""
    left = step.seconds_left()
    time_left = f", about {duration(left)} left" if left else ""
    yield f"  now    {step.name}  ({duration(until - step.began)}{done}{time_left})"
    for training in step.trainings:
        if training.epoch < training.epochs:
            rate = f"{training.seconds / training.timed:.1f} s an epoch"
            progress = f"epoch {training.epoch} of {training.epochs}, {rate}, {training.summary}"
            yield f"         {training.label} {training.stage}: {progress}"


def _read(file: AnyPath, default: Any) -> Any:
    return read_json(file) if file.exists() else default


def _sizes(folder: Path) -> str:
    """Size of the folder, and of its largest parts."""
    sizes: dict[str, int] = {}
    for root, _, files in os.walk(folder):
        part = Path(root).relative_to(folder).parts[:1]
        for name in files:
            try:
                size = os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:  # a temporary file
                continue
            sizes[part[0] if part else "files"] = sizes.get(part[0] if part else "files", 0) + size
    parts = sorted(sizes.items(), key=lambda item: -item[1])[:3]
    listed = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in parts)
    return f"{sum(sizes.values()) / 1e6:.0f} MB ({listed})"
