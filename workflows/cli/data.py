"""`tsme data`: generate and examine data sets. Imports little, so that it starts at once."""

from __future__ import annotations

from concurrent.futures import CancelledError
from enum import StrEnum
from threading import Event
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from tsme.config import DatasetName
from tsme.errors import UserError
from tsme.storage.object_store import AnyPath, RemotePath, any_path
from tsme.synthetic.difficulty import Level

data_app = typer.Typer(no_args_is_help=True, help="Generate and examine data sets.")
console = Console()


class DatasetChoice(StrEnum):
    """Data sets whose layout and protocol are known; csv is a table of one's own people."""

    regdb = "regdb"
    sysu = "sysu"
    llcm = "llcm"
    csv = "csv"


class Difficulty(StrEnum):
    """How much pictures of one person differ: stance, side seen, what stands in front."""

    easy = "easy"
    normal = "normal"
    hard = "hard"


@data_app.command()
def synth(
    out: Annotated[str, typer.Argument(metavar="DIR|URI", help="Folder to create.")],
    layout: Annotated[DatasetChoice, typer.Option(help="Layout to write.")] = DatasetChoice.regdb,
    ids: Annotated[int, typer.Option(help="People, training and test together.")] = 412,
    images: Annotated[
        int,
        typer.Option(
            help="Images of each person: regdb in either modality, else about as many a camera."
        ),
    ] = 10,
    seed: Annotated[int, typer.Option(help="Another seed, other people.")] = 0,
    difficulty: Annotated[
        Difficulty, typer.Option(help="How much pictures of one person differ.")
    ] = Difficulty.normal,
    ground_truth: Annotated[
        bool,
        typer.Option("--truth", help="Also, in Truth/, what the other sensor would have seen (regdb)."),
    ] = False,
) -> None:
    """Generate a data set of synthetic identities, in the layout of a real one.

    Identity is in the geometry, seen by all sensors: build, garments' cut, patterns, things carried.
    Colours (visible) and temperatures or reflectances (infrared) are each person's own as well, but
    drawn independently, so they find nobody across modalities.
    """
    folder = any_path(out)
    if isinstance(folder, RemotePath) and folder.exists():
        raise UserError(f"{folder} is not empty: name a new folder")
    draw_people(folder, layout.value, ids, images, seed, console, difficulty.value, ground_truth)
    console.print(f"{ids} people in the layout of {layout}: {folder}", soft_wrap=True)


@data_app.command()
def check(
    dataset: Annotated[DatasetChoice, typer.Option(help="Layout of the data.")],
    folder: Annotated[str, typer.Argument(metavar="DIR|URI", help="Data set; of csv, the file.")],
) -> None:
    """Read every list and image; print counts, what trials share, and each fault."""
    from tsme.data.check import check as check_dataset
    from tsme.data.datasets.registry import open_dataset
    from tsme.report.tables import check_tables

    with Progress(console=console, transient=True) as bars:
        bar = bars.add_task("reading images")
        report = check_dataset(
            open_dataset(dataset.value, any_path(folder)),
            lambda done, total: bars.update(bar, completed=done, total=total),
        )
    for table in check_tables(report):
        console.print(table)
    for warning in report.warnings:
        console.print(f"note: {warning}", soft_wrap=True)
    for fault in report.faults:
        console.print(f"fault: {fault}", soft_wrap=True)
    if not report.ok:
        raise UserError(f"{folder}: {len(report.faults)} faults; the first: {report.faults[0]}")
    console.print(f"{folder}: no faults", soft_wrap=True)


def draw_people(
    out: AnyPath,
    layout: DatasetName,
    identities: int,
    images: int,
    seed: int,
    console: Console,
    difficulty: Level = "normal",
    ground_truth: bool = False,
    stopped: Event | None = None,
) -> None:
    """Generate a data set, with a progress bar.

    Raises CancelledError when `stopped` is set; then nothing is left of it.
    """
    from tsme.storage.atomic import filling
    from tsme.synthetic.generate import generate

    with Progress(console=console, transient=True) as bars, filling(out) as folder:
        bar = bars.add_task("drawing people")

        def show(done: int, total: int) -> None:
            if stopped is not None and stopped.is_set():
                raise CancelledError
            bars.update(bar, completed=done, total=total)

        generate(
            folder,
            layout=layout,
            identities=identities,
            images=images,
            seed=seed,
            difficulty=difficulty,
            ground_truth=ground_truth,
            progress=show,
        )
