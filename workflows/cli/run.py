"""`tsme run`, the whole workflow on a data set, and `tsme demo`, the same on generated data."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import typer

from tsme.storage.atomic import read_json
from tsme.storage.object_store import AnyPath, any_path
from workflows.cli.options import (
    DataOption,
    PresetOption,
    ResumeOption,
    SetOption,
    parse_trials,
    run_options,
)
from workflows.cli.output import console, print_results
from workflows.synthetic_data import generate_with_progress

# The demo's data set and sweep.
IDENTITIES = 120
IMAGES = 10
SAMPLES = 3


def run(
    preset: PresetOption,
    data: DataOption,
    trials: Annotated[str, typer.Option(help="Such as 1-10 or 1,3; all trials by default.")] = "",
    sweep: Annotated[int, typer.Option(min=0, help="Samples to try first; 0 keeps the preset.")] = 0,
    set_: SetOption = [],  # noqa: B006 - typer copies it
    out: Annotated[str, typer.Option(metavar="DIR|URI", help="Default: runs/PRESET.")] = "",
    resume: ResumeOption = False,
) -> None:
    """Take a data set to a registered, evaluated model.

    Sweep, train every trial, register, evaluate, promote.
    """
    numbers, folder = parse_trials(trials), out or f"runs/{preset}"
    options = run_options(
        f"run {preset}", preset, set_, data, folder, trials=numbers, samples=sweep, resume=resume
    )
    from workflows.pipeline import run_workflow

    print_results(run_workflow(options, console), options.out)


def demo(
    out: Annotated[
        str, typer.Option(metavar="DIR|URI", help="Folder of data and results.")
    ] = "runs/demo",
) -> None:
    """Run the whole workflow on generated data with a small network.

    It takes minutes on two CPU cores. Started again with the same --out, it continues there, or shows
    the results at once if it has finished.
    """
    folder = any_path(out)
    if (folder / "results.json").exists():
        print_results(read_json(folder / "results.json"), folder)
        console.print(f"finished before; remove {folder} to run it again", soft_wrap=True)
        return
    stopped = Event()
    resume = (folder / "run.json").exists()
    with ThreadPoolExecutor(1) as executor:
        # The data are generated in other processes while Ray starts in this one.
        generated = executor.submit(_generate, folder / "data", resume, stopped)
        try:
            results = _run_demo(folder, resume, generated)
        finally:
            stopped.set()  # after an interrupt, do not generate the remaining identities
    print_results(results, folder)


def _generate(data: AnyPath, resume: bool, stopped: Event) -> None:
    # A local folder exists only if it is complete. An upload to an object store may have been
    # interrupted, unless a run has already used it.
    if not (data.exists() if isinstance(data, Path) else resume):
        generate_with_progress(
            data, "regdb", IDENTITIES, IMAGES, seed=0, console=console, difficulty="easy", stopped=stopped
        )
        console.print(f"{IDENTITIES} identities in the layout of regdb: {data}", soft_wrap=True)


def _run_demo(out: AnyPath, resume: bool, generated: Future[None]) -> dict[str, Any]:
    from tsme.presets import demo as demo_preset
    from workflows.cluster.session import cluster
    from workflows.pipeline import run_workflow
    from workflows.run import RunOptions

    options = RunOptions(
        "demo",
        demo_preset(),
        out / "data",
        out,
        samples=SAMPLES,
        resume=resume,
        model_name="tsme-demo",  # so that no demo model competes with one of the real RegDB
    )
    with cluster():
        generated.result()
        return run_workflow(options, console)
