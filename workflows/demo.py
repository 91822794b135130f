"""`tsme demo`: data from nothing, then the whole workflow on it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from tsme.presets import demo
from tsme.remote import AnyPath
from workflows.data import draw_people

IDENTITIES = 200
IMAGES = 5
SAMPLES = 3


def run_demo(out: AnyPath, console: Console) -> dict[str, Any]:
    """Generate a data set in `out`/data if it is not there, and run all of the workflow on it."""
    data = out / "data"
    resume = (out / "run.json").exists()
    # Other processes draw; Ray, and all that is imported with it, starts meanwhile.
    with ThreadPoolExecutor(1) as aside:
        drawn = aside.submit(_draw, data, resume, console)
        from workflows.cluster import cluster
        from workflows.flow import workflow
        from workflows.pipeline import run_workflow

        with cluster():
            drawn.result()
            with workflow(
                demo(),
                data,
                out,
                name="demo",
                trials=None,
                resume=resume,
                console=console,
                samples=SAMPLES,
            ) as flow:
                return run_workflow(flow)


def _draw(data: AnyPath, resume: bool, console: Console) -> None:
    # A folder is there when it is whole; files may have been uploaded in part, unless a run came after.
    if not (data.exists() if isinstance(data, Path) else resume):
        draw_people(data, "regdb", IDENTITIES, IMAGES, seed=0, console=console)
        console.print(f"{IDENTITIES} people in the layout of regdb: {data}", soft_wrap=True)
