"""`tsme run`, the whole workflow on a data set, and `tsme demo`, the same on generated data."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from rich.progress import Progress

# The demo's data set and sweep.
IDENTITIES = 120
IMAGES = 6
SAMPLES = 3
INTRODUCTION = (
    f"{IDENTITIES} generated identities, a sweep of {SAMPLES} samples, both stages on ten trials, "
    "registration, evaluation, a report: about three minutes on two cores; files go to {out}"
)
NEXT = (
    "your own data: tsme data check --dataset regdb DIR, then tsme run --preset regdb --data DIR "
    "(or sysu, llcm, csv)"
)


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
        console.print(NEXT, soft_wrap=True)
        console.print(f"finished before; remove {folder} to run it again", soft_wrap=True)
        return
    console.print(INTRODUCTION.format(out=folder), soft_wrap=True)
    print_results(_run_demo(folder, resume=(folder / "run.json").exists()), folder)
    console.print(NEXT, soft_wrap=True)


@contextmanager
def _data_and_ray(data: AnyPath, resume: bool) -> Iterator[None]:
    """Ray, for the block; the data set is generated in other processes while Ray starts in this one."""
    from workflows.bars import progress_bars

    stopped = Event()
    with ExitStack() as stack:
        with progress_bars(console) as bars, ThreadPoolExecutor(1) as executor:
            generated = executor.submit(_generate, data, resume, stopped, bars)
            bars.add_task("starting Ray", total=None, summary="")
            try:
                import workflows.pipeline  # noqa: F401 - seconds of imports, while the bars show life
                from workflows.cluster.session import cluster

                stack.enter_context(cluster())
                generated.result()
            finally:
                stopped.set()  # after an interrupt, do not generate the remaining identities
        yield
        with console.status("stopping Ray"):
            stack.close()


def _generate(data: AnyPath, resume: bool, stopped: Event, bars: Progress) -> None:
    # A local folder exists only if it is complete. An upload to an object store may have been
    # interrupted, unless a run has already used it.
    if not (data.exists() if isinstance(data, Path) else resume):
        generate_with_progress(
            data, "regdb", IDENTITIES, IMAGES, seed=0, bars=bars, difficulty="easy", stopped=stopped
        )
        console.print(f"{IDENTITIES} identities in the layout of regdb: {data}", soft_wrap=True)


def _run_demo(out: AnyPath, resume: bool) -> dict[str, Any]:
    with _data_and_ray(out / "data", resume):
        from tsme.presets import demo as demo_preset
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
        return run_workflow(options, console)
