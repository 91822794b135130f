"""`tsme data`: generate and check data sets."""

from __future__ import annotations

from typing import Annotated

import typer

from tsme.errors import UserError
from tsme.storage.object_store import RemotePath, any_path
from workflows.cli.options import DatasetChoice, DifficultyChoice, TonesChoice, existing_data
from workflows.cli.output import console
from workflows.synthetic_data import generate_with_progress

data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Generate and check data sets.")


@data_app.command()
def synth(
    out: Annotated[str, typer.Argument(metavar="DIR|URI", help="Folder to create.")],
    layout: Annotated[DatasetChoice, typer.Option(help="Layout to write.")] = DatasetChoice.regdb,
    ids: Annotated[int, typer.Option(help="Identities, training and test together.")] = 412,
    images: Annotated[
        int,
        typer.Option(
            help="Images per identity: in each modality for regdb, else about as many per camera."
        ),
    ] = 10,
    seed: Annotated[int, typer.Option(help="Another seed gives other identities.")] = 0,
    difficulty: Annotated[
        DifficultyChoice, typer.Option(help="How much the images of one identity differ.")
    ] = DifficultyChoice.normal,
    tones: Annotated[
        TonesChoice,
        typer.Option(help="Infrared tones: random, or according to the fabric that is seen."),
    ] = TonesChoice.independent,
    ground_truth: Annotated[
        bool,
        typer.Option(
            "--ground-truth",
            help="Also write Truth/: each image as the other sensor sees it (regdb only).",
        ),
    ] = False,
) -> None:
    """Generate a data set of synthetic identities.

    It has the layout of a real data set. Geometry, which all sensors see, carries identity: build, cut of
    clothes, patterns, things carried.
    Colours (visible) and temperatures or reflectances (infrared) also belong to an identity, but are
    drawn independently, so they do not help to match across modalities. With --tones lifelike, the
    infrared tone of a garment follows in part from its fabric, which visible texture shows.
    """
    folder = any_path(out)
    if isinstance(folder, RemotePath) and folder.exists():
        raise UserError(f"{folder} is not empty: name a new folder")
    from workflows.bars import progress_bars

    with progress_bars(console) as bars:
        generate_with_progress(
            folder, layout.value, ids, images, seed=seed, bars=bars,
            difficulty=difficulty.value, tones=tones.value, ground_truth=ground_truth,
        )  # fmt: skip
    console.print(f"{ids} identities in the layout of {layout}: {folder}", soft_wrap=True)


@data_app.command("check")
def check_data(
    dataset: Annotated[DatasetChoice, typer.Option(help="Layout of the data.")],
    folder: Annotated[str, typer.Argument(metavar="DIR|URI", help="Data set; for csv, the file.")],
) -> None:
    """Check every list and image of a data set.

    Prints counts, what trials share, and each fault.
    """
    source = existing_data(folder)
    from tsme.data.check import check
    from tsme.data.datasets.registry import open_dataset
    from tsme.report.tables import check_tables
    from workflows.bars import progress_bars

    with progress_bars(console) as bars:
        bar = bars.add_task("reading images", total=None, summary="")
        report = check(
            open_dataset(dataset.value, source),
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
