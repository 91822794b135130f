"""`tsme demo`: data from nothing, then the whole workflow on it."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

from rich.console import Console

from tsme.presets import demo
from tsme.storage.object_store import AnyPath
from workflows.cli.data import draw_people

IDENTITIES = 200
IMAGES = 5
SAMPLES = 3


def run_demo(out: AnyPath, console: Console) -> dict[str, Any]:
    """Generate a data set in `out`/data if it is not there, and run all of the workflow on it."""
    data = out / "data"
    resume = (out / "run.json").exists()
    stopped = Event()
    with ThreadPoolExecutor(1) as aside:
        drawn = aside.submit(_draw, data, resume, console, stopped)
        try:
            return _run(data, out, resume, console, drawn)
        finally:
            stopped.set()  # an interrupt does not wait for the rest of the people


def _run(
    data: AnyPath, out: AnyPath, resume: bool, console: Console, drawn: Future[None]
) -> dict[str, Any]:
    """The workflow, once all people are drawn: other processes do, while Ray starts in this one."""
    from workflows.cluster.session import cluster
    from workflows.pipeline import run_workflow
    from workflows.run import open_run

    with cluster():
        drawn.result()
        with open_run(
            demo(),
            data,
            out,
            name="demo",
            trials=None,
            resume=resume,
            console=console,
            samples=SAMPLES,
        ) as run:
            return run_workflow(run)


def _draw(data: AnyPath, resume: bool, console: Console, stopped: Event) -> None:
    # A folder is there when it is whole; files may have been uploaded in part, unless a run came after.
    if not (data.exists() if isinstance(data, Path) else resume):
        draw_people(data, "regdb", IDENTITIES, IMAGES, seed=0, console=console, stopped=stopped)
        console.print(f"{IDENTITIES} people in the layout of regdb: {data}", soft_wrap=True)
