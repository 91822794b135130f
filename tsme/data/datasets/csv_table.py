"""Your own images, in a CSV or Parquet file with a row for each image.

Columns: `path` (relative to the file's folder), `identity`, `modality` (visible or infrared) and,
optionally, `camera` and `split` (train, validation or test). Validation identities also train the final
model, as with SYSU-MM01. Identities and cameras keep their numbers if all are whole numbers; otherwise
each distinct text gets a number from 1, in sorted order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from tsme.data.datasets.folder import BadLine, DataFolder, clean_path, quote, whole_number
from tsme.data.datasets.image_records import (
    ImageRecord,
    drop_single_modality,
    image_list,
    locate_images,
    too_few_faults,
)
from tsme.data.datasets.table_file import Table, TableRow, read_table
from tsme.data.types import MODALITIES, Dataset, Fault, Modality, Split, Trial
from tsme.errors import UserError

REQUIRED = ("path", "identity", "modality")
OPTIONAL = ("camera", "split")
COLUMNS = REQUIRED + OPTIONAL
SPLITS = ("train", "validation", "test")
# Fixed, so that the same identities are divided alike in every run.
DIVISION_SEED = 412
_DEFAULT_CAMERA: dict[Modality, str] = {"visible": "1", "infrared": "2"}


class ImageRow(NamedTuple):
    """A valid row; `split` is empty if the file has no such column."""

    line: int
    path: str
    identity: str
    modality: Modality
    camera: str
    split: str


def read_csv_table(file: Path) -> Dataset:
    """Read all rows and check that their images exist; images keep the order of the file.

    Without a split column, a fixed random half of the identities seen in both modalities is for
    training, and all others are for testing. Raises UserError if the file is no table.
    """
    content = _read_bytes(file)
    table = read_table(file, content, COLUMNS)
    faults = list(_header_faults(file.name, table.header))
    warnings: list[str] = []
    if ignored := [quote(name) for name in table.header if name not in COLUMNS]:
        warnings.append(f"ignored columns: {', '.join(ignored)}")
    rows: list[ImageRow] = []
    if not faults:
        rows, faults = _valid_rows(DataFolder(file.parent), file.name, table)
    trial, too_few = _divide(file.name, rows)
    fit, excluded = drop_single_modality(trial.train)
    warnings += excluded
    if not faults:  # else the faults may be the reason
        faults += too_few or too_few_faults(fit, file.name, "identities with split 'train' are")
    if not faults and "split" not in table.header:
        counts = len(fit.all_identities), len(trial.test.all_identities)
        warnings.append(
            f"no split column: {counts[0]} identities, drawn at random, are for training, the other "
            f"{counts[1]} for testing"
        )
    validation = tuple(sorted(set(trial.validation) & set(fit.identities)))
    return Dataset(
        name="csv",
        location=file.parent,
        trials={1: Trial(1, fit, trial.test, validation)},
        lists={file.name: hashlib.sha256(content).digest()},
        faults_by_trial={1: tuple(faults)},
        warnings=tuple(warnings),
    )


def _read_bytes(file: Path) -> bytes:
    advice = f"give a CSV or Parquet file with the columns {', '.join(COLUMNS)}"
    if file.is_dir():
        raise UserError(f"{file}: this is a folder; {advice}")
    if not file.is_file():
        raise UserError(f"{file}: no such file; {advice}")
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error})") from error


def _header_faults(file: str, header: list[str]) -> Iterator[Fault]:
    missing = ", ".join(name for name in REQUIRED if name not in header)
    if missing:
        advice = "add or rename them" if len(header) > 1 else "add them, with commas between all columns"
        found = quote(", ".join(header))
        yield Fault(file, 1, f"lacks the columns {missing}; it has {found}: {advice}")
    for name in COLUMNS:
        if header.count(name) > 1:
            yield Fault(file, 1, f"has the column {name} twice; remove one")


def _valid_rows(folder: DataFolder, file: str, table: Table) -> tuple[list[ImageRow], list[Fault]]:
    """The valid rows whose image exists, and the faults of the others."""
    rows: list[ImageRow] = []
    faults = list(table.faults)
    for row in table.rows:
        try:
            rows.append(_parse(row))
        except BadLine as error:
            faults.append(Fault(file, row.line, str(error)))
    found, missing = locate_images(folder, file, [(row.line, row.path) for row in rows])
    rows = [row._replace(path=found[row.line]) for row in rows if row.line in found]
    faults.sort(key=lambda fault: fault.line or 0)
    return rows, [*faults, *missing, *_split_faults(file, rows)]


def _parse(row: TableRow) -> ImageRow:
    cells = row.cells
    empty = [name for name in COLUMNS if cells.get(name) == ""]
    if empty:
        raise BadLine(f"{', '.join(empty)} is empty; fill it in")
    path = clean_path(cells["path"])
    modality, split = cells["modality"].casefold(), cells.get("split", "").casefold()
    if modality not in MODALITIES:
        raise BadLine(f"modality {quote(cells['modality'])} is unknown; write {' or '.join(MODALITIES)}")
    if split and split not in SPLITS:
        known = f"{', '.join(SPLITS[:-1])} or {SPLITS[-1]}"
        raise BadLine(f"split {quote(cells['split'])} is unknown; write {known}")
    camera = cells.get("camera", _DEFAULT_CAMERA[modality])
    return ImageRow(row.line, path, cells["identity"], modality, camera, split)


def _split_faults(file: str, rows: list[ImageRow]) -> Iterator[Fault]:
    """A fault for the first row that puts an identity into a second split."""
    numbers = _numbers(row.identity for row in rows)
    first: dict[int, ImageRow] = {}
    reported: set[int] = set()
    for row in rows:
        identity = numbers[row.identity]
        earlier = first.setdefault(identity, row)
        if earlier.split != row.split and identity not in reported:
            reported.add(identity)
            what = f"identity {quote(row.identity)} has split {earlier.split} on line {earlier.line}"
            yield Fault(file, row.line, f"{what} and {row.split} here; keep an identity in one split")


def _divide(file: str, rows: list[ImageRow]) -> tuple[Trial, list[Fault]]:
    """Divide by the split column or, without one, at random; faults if a part is too small."""
    identities = _numbers(row.identity for row in rows)
    cameras = _numbers(row.camera for row in rows)

    def records(modality: Modality) -> Iterator[ImageRecord]:
        for row in rows:
            if row.modality == modality:
                yield ImageRecord(row.path, identities[row.identity], cameras[row.camera])

    images = Split(*(image_list(modality, records(modality)) for modality in MODALITIES))
    if all(row.split for row in rows):
        train, validation, test = (
            {identities[row.identity] for row in rows if row.split == split} for split in SPLITS
        )
        tested = images.keep(test)
        too_few = too_few_faults(tested, file, "identities with split 'test' are")
        return Trial(1, images.keep(train | validation), tested, tuple(validation)), too_few
    both = images.identities
    order = np.random.default_rng([DIVISION_SEED, len(both)]).permutation(both)
    drawn = {int(identity) for identity in order[: len(both) // 2]}
    too_few = too_few_faults(images, file, "identities, to be divided into two halves, are", 4)
    return Trial(1, images.keep(drawn), images.keep(images.all_identities - drawn)), too_few


def _numbers(texts: Iterable[str]) -> dict[str, int]:
    """A number for each distinct text: its own if all are whole numbers, else its place in order.

    Spreadsheets drop leading zeros and may add `.0`, so 7, 007 and 7.0 are equal.
    """
    distinct = set(texts)
    numbers = {text: whole_number(text) for text in distinct}
    if all(number is not None for number in numbers.values()):
        return cast(dict[str, int], numbers)
    return {text: place for place, text in enumerate(sorted(distinct), start=1)}
