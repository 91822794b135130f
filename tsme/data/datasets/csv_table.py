"""Images of one's own, named by a table: a CSV or Parquet file with a row for each image.

Columns: `path` (relative to the table's folder), `identity` and `modality` (visible or infrared), and if
wanted `camera` and `split` (train, validation or test). Validation people are trained on in the end, as
with SYSU-MM01. Identities and cameras that are all whole numbers are kept; else each text is numbered,
from 1, in sorted order.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import ClassVar, NamedTuple

import numpy as np

from tsme.config import DatasetName
from tsme.data.datasets.common import (
    Photo,
    files_beside,
    image_list,
    listing_faults,
    only_trial,
    quote,
    scarcity_faults,
    trainable,
)
from tsme.data.types import MODALITIES, Fault, Findings, Modality, Split, Trial
from tsme.errors import UserError

REQUIRED = ("path", "identity", "modality")
OPTIONAL = ("camera", "split")
SPLITS = ("train", "validation", "test")
# Any number would do; a fixed one divides the same people alike in every run.
DIVISION_SEED = 412
_NUMBER = re.compile(r"[0-9]{1,9}")  # fits int64
_OWN_CAMERA: dict[Modality, str] = {"visible": "1", "infrared": "2"}
_PARQUET = (".parquet", ".pq")


class _Line(NamedTuple):
    """A line of the file, its text by column; lines of a CSV and rows of a Parquet file count from 1."""

    number: int
    cells: dict[str, str]


class _Row(NamedTuple):
    """A well-formed line; `split` is empty where the file has no such column."""

    line: int
    path: str
    identity: str
    modality: Modality
    camera: str
    split: str


@dataclass(frozen=True)
class CsvTable:
    """A CSV or Parquet file that names images."""

    name: ClassVar[DatasetName] = "csv"
    file: Path

    @property
    def root(self) -> Path:
        """The folder of the file."""
        return self.file.parent

    def trials(self) -> list[int]:
        """[1]; UserError if there is no such file."""
        _require_file(self.file)
        return [1]

    def read(self, trial: int) -> Trial:
        """Images in the order of the file.

        Without a split column, half of the people seen in both modalities train, by a draw that
        depends on nothing but who they are; everyone else is for testing. UserError for the first
        fault, and for a `trial` other than 1.
        """
        return only_trial(self, self.file.name, trial)

    def lists(self) -> list[str]:
        """The file itself."""
        return [self.file.name] if self.file.is_file() else []

    def examine(self) -> Findings:
        """All rows, and whether their images exist. UserError if the file cannot be read at all."""
        _require_file(self.file)
        parquet = self.file.suffix.lower() in _PARQUET
        header, lines = _read_parquet(self.file) if parquet else _read_csv(self.file)
        faults = list(_header_faults(self.file.name, header))
        warnings: list[str] = []
        if ignored := [quote(name) for name in header if name not in REQUIRED + OPTIONAL]:
            warnings.append(f"columns that mean nothing here: {', '.join(ignored)}")
        rows: list[_Row] = []
        if not faults:
            rows, faults = _rows(self.root, self.file.name, lines)
        trial, few = _divide(self.root, self.file.name, rows)
        fit, left_out = trainable(trial.train)
        warnings += left_out
        if not faults:  # else they may be the reason
            faults += few or scarcity_faults(fit, self.file.name, "people with split 'train' are")
        if not faults and "split" not in header:
            drawn = f"no split column: {len(fit.everyone)} people were drawn to train on"
            warnings.append(f"{drawn}, the other {len(trial.test.everyone)} are to test on")
        validation = tuple(sorted(set(trial.validation) & set(fit.identities)))
        return Findings((Trial(1, fit, trial.test, validation),), tuple(faults), tuple(warnings))


def _require_file(file: Path) -> None:
    advice = "give a CSV or Parquet file with the columns " + ", ".join(REQUIRED + OPTIONAL)
    if file.is_dir():
        raise UserError(f"{file}: this is a folder; {advice}")
    if not file.is_file():
        raise UserError(f"{file}: no such file; {advice}")


def _read_csv(file: Path) -> tuple[list[str], list[_Line | Fault]]:
    """The column names and the other lines that are not blank; UserError if it is no CSV."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise UserError(f"{file}: is not UTF-8 text; save it as CSV in UTF-8") from problem
    except OSError as problem:
        raise UserError(f"{file}: cannot be read ({problem.strerror or problem})") from problem
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    lines: list[_Line | Fault] = []
    try:
        for cells in reader:
            texts = [cell.strip() for cell in cells]
            number = reader.line_num
            if not any(texts):
                continue
            if not header:
                header = texts
            elif len(texts) == len(header):
                lines.append(_Line(number, dict(zip(header, texts, strict=True))))
            else:
                message = f"has {len(texts)} cells, but there are {len(header)} columns; correct it"
                lines.append(Fault(file.name, number, message))
    except csv.Error as problem:
        raise UserError(
            f"{file}, line {reader.line_num}: is not CSV ({problem}); correct it"
        ) from problem
    if not lines:
        raise UserError(f"{file}: has no rows; give a line of column names, then one for each image")
    return header, lines


def _read_parquet(file: Path) -> tuple[list[str], list[_Line | Fault]]:
    """The column names and all rows; UserError if it is no Parquet file of text and numbers."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as problem:
        advice = "install it (pip install pyarrow), or save the table as CSV"
        raise UserError(f"{file}: reading Parquet takes pyarrow; {advice}") from problem
    try:
        with parquet.ParquetFile(file) as source:
            header = source.schema_arrow.names
            table = source.read(columns=[name for name in header if name in REQUIRED + OPTIONAL])
        names = table.column_names
        columns = [column.cast(pyarrow.string()).to_pylist() for column in table.columns]
    except (pyarrow.ArrowException, OSError) as problem:
        reason = (str(problem).splitlines() or ["no reason given"])[0]
        what = f"cannot be read as a Parquet table of text and numbers ({quote(reason)})"
        raise UserError(f"{file}: {what}; write it again") from problem
    lines: list[_Line | Fault] = [
        _Line(number, {name: (cell or "").strip() for name, cell in zip(names, cells, strict=True)})
        for number, cells in enumerate(zip(*columns, strict=True), start=1)
    ]
    return header, lines


def _header_faults(file: str, header: list[str]) -> Iterator[Fault]:
    missing = ", ".join(name for name in REQUIRED if name not in header)
    if missing:
        advice = "add or rename them" if len(header) > 1 else "add them, with commas between all columns"
        found = quote(", ".join(header))
        yield Fault(file, 1, f"lacks the columns {missing}; it has {found}: {advice}")
    for name in REQUIRED + OPTIONAL:
        if header.count(name) > 1:
            yield Fault(file, 1, f"has the column {name} twice; remove one")


def _rows(root: Path, file: str, lines: list[_Line | Fault]) -> tuple[list[_Row], list[Fault]]:
    """The lines that are well formed and whose image exists, and the faults of the others."""
    parsed = [line if isinstance(line, Fault) else _parse(file, line) for line in lines]
    rows = [item for item in parsed if isinstance(item, _Row)]
    listed = [(row.line, row.path) for row in rows]
    wrong = listing_faults(file, listed, files_beside(root, (path for _, path in listed)))
    sound = [row for row in rows if row.line not in wrong]
    faults = [item for item in parsed if isinstance(item, Fault)]
    return sound, [*faults, *wrong.values(), *_split_faults(file, sound)]


def _parse(file: str, line: _Line) -> _Row | Fault:
    cells = line.cells
    path, modality, split = cells["path"], cells["modality"], cells.get("split", "")
    empty = [name for name in REQUIRED + OPTIONAL if cells.get(name) == ""]
    if empty:
        problem = f"{', '.join(empty)} is empty; fill it in"
    elif path.startswith(("/", "\\")) or PureWindowsPath(path).drive:
        problem = f"path {quote(path)} is absolute; write it from the table's folder on"
    elif ".." in PurePosixPath(path).parts:
        problem = f"path {quote(path)} holds '..'; keep images below the table's folder"
    elif modality not in MODALITIES:
        problem = f"modality {quote(modality)} is not known; write {' or '.join(MODALITIES)}"
    elif split and split not in SPLITS:
        problem = f"split {quote(split)} is not known; write {', '.join(SPLITS[:-1])} or {SPLITS[-1]}"
    else:
        camera = cells.get("camera", _OWN_CAMERA[modality])
        # ./a.jpg and a.jpg are one image.
        name = PurePosixPath(path).as_posix()
        return _Row(line.number, name, cells["identity"], modality, camera, split)
    return Fault(file, line.number, problem)


def _split_faults(file: str, rows: list[_Row]) -> Iterator[Fault]:
    """The first row of each person that puts them into a second split."""
    numbers = _numbers(row.identity for row in rows)
    first: dict[int, _Row] = {}
    told: set[int] = set()
    for row in rows:
        person = numbers[row.identity]
        earlier = first.setdefault(person, row)
        if earlier.split != row.split and person not in told:
            told.add(person)
            what = f"person {quote(row.identity)} has split {earlier.split} on line {earlier.line}"
            yield Fault(file, row.line, f"{what} and {row.split} here; keep a person in one split")


def _divide(root: Path, file: str, rows: list[_Row]) -> tuple[Trial, list[Fault]]:
    """Everyone in the split of their rows or, without such, a drawn one; faults if these are too few."""
    people, cameras = _numbers(row.identity for row in rows), _numbers(row.camera for row in rows)

    def photos(modality: Modality) -> Iterator[Photo]:
        for row in rows:
            if row.modality == modality:
                yield Photo(row.path, people[row.identity], cameras[row.camera])

    visible, infrared = (image_list(root, modality, photos(modality)) for modality in MODALITIES)
    everyone = Split(visible, infrared)
    if all(row.split for row in rows):
        by_split = {name: {people[row.identity] for row in rows if row.split == name} for name in SPLITS}
        trained, tested = by_split["train"] | by_split["validation"], by_split["test"]
        validation = tuple(by_split["validation"])
        test = everyone.keep(tested)
        few = list(scarcity_faults(test, file, "people with split 'test' are"))
        return Trial(1, everyone.keep(trained), test, validation), few
    both = everyone.identities
    order = np.random.default_rng([DIVISION_SEED, len(both)]).permutation(both)
    drawn = {int(person) for person in order[: len(both) // 2]}
    few = list(scarcity_faults(everyone, file, "people, to be divided into two halves, are", 4))
    return Trial(1, everyone.keep(drawn), everyone.keep(everyone.everyone - drawn)), few


def _numbers(texts: Iterable[str]) -> dict[str, int]:
    """A number for each distinct text: its own if all are whole numbers, else its place in order.

    Spreadsheets drop leading zeros, so 7 and 007 are then one.
    """
    distinct = set(texts)
    if all(_NUMBER.fullmatch(text) for text in distinct):
        return {text: int(text) for text in distinct}
    return {text: place for place, text in enumerate(sorted(distinct), start=1)}
