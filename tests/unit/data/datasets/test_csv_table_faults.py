"""CSV tables: faults of bad ones, named by line and column; other files are refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.data.datasets.csv_table_cases import COLUMNS, ROWS, without, write
from tsme.data.datasets.csv_table import read_csv_table
from tsme.errors import UserError

Change = Callable[[list[list[str]]], object]


def cell(row: int, column: str, text: str) -> Change:
    """Rows count from 0, so row 0 is line 2 of the file."""

    def change(rows: list[list[str]]) -> None:
        rows[row][COLUMNS.index(column)] = text

    return change


# Name -> change to the good rows, line of the first fault, and what its message holds.
BAD: dict[str, tuple[Change, int | None, tuple[str, ...]]] = {
    "unknown modality": (cell(1, "modality", "rgb"), 3, ("'rgb'", "visible or infrared")),
    "unknown split": (cell(3, "split", "val"), 5, ("'val'", "train, validation or test")),
    **{f"empty {name}": (cell(2, name, " "), 4, (f"{name} is empty",)) for name in COLUMNS},
    "absolute path": (cell(0, "path", "/data/v/c.jpg"), 2, ("'/data/v/c.jpg'", "absolute")),
    "drive": (cell(0, "path", r"C:\v\c.jpg"), 2, ("absolute",)),
    "climbing path": (cell(0, "path", "../mine/v/c.jpg"), 2, ("'..'",)),
    "path twice": (cell(6, "path", "v/c.jpg"), 8, ("'v/c.jpg'", "already on line 2")),
    "path twice, written differently": (cell(6, "path", "./v//c.jpg"), 8, ("already on line 2",)),
    "missing file": (cell(4, "path", "v/none.jpg"), 6, ("'v/none.jpg'", "is missing")),
    "missing folder": (cell(4, "path", "none/d.jpg"), None, ("folder 'none'", "line 6", "is missing")),
    "folder for file": (cell(4, "path", "v"), 6, ("'v'", "is missing")),
    "zero byte": (cell(4, "path", "v\0/d.jpg"), None, ("line 6", "is missing")),
    "too few cells": (lambda rows: rows[5].pop(), 7, ("4 cells", "5 columns")),
    "too many cells": (lambda rows: rows[5].append("x"), 7, ("6 cells", "5 columns")),
    "train and test": (
        cell(10, "split", "test"),
        12,
        ("identity '7'", "split train on line 2", "test here"),
    ),
    "train and validation": (cell(2, "split", "validation"), 4, ("train on line 2", "validation here")),
    "the same number": (cell(6, "identity", "007"), 8, ("identity '007'", "train on line 2", "test")),
    "one identity to train on": (
        lambda rows: [row.__setitem__(4, "test") for row in rows if row[1] in ("7", "3")],
        None,
        ("only 1 of the identities with split 'train'", "at least 2"),
    ),
    "one identity to test on": (
        lambda rows: rows.__delitem__(slice(8, 10)),
        None,
        ("only 1 of the identities with split 'test'", "at least 2"),
    ),
}


@pytest.mark.parametrize(("change", "line", "parts"), BAD.values(), ids=BAD.keys())
def test_bad_rows_are_named(file: Path, change: Change, line: int | None, parts: tuple[str, ...]) -> None:
    rows = [list(row) for row in ROWS]
    change(rows)
    table = write(file, [tuple(row) for row in rows])
    first = table.faults[0]
    assert (first.file, first.line) == ("images.csv", line)
    for part in parts:
        assert part in first.message
    with pytest.raises(UserError) as caught:
        table.trial(1)
    assert str(caught.value) == f"{file.parent}/{first}"
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 500


def test_all_faults_are_found_and_the_rest_is_kept(file: Path) -> None:
    rows = [list(row) for row in ROWS]
    for change in (cell(0, "modality", "x"), cell(3, "path", "gone.png"), lambda rows: rows[8].pop()):
        change(rows)
    findings = write(file, [tuple(row) for row in rows])
    assert sorted(fault.line or 0 for fault in findings.faults) == [2, 5, 10]
    (trial,) = findings.trials.values()
    assert trial.test.visible.paths == ("v/e.jpg",)
    assert trial.train.identities == [3, 7]


@pytest.mark.parametrize("column", ["path", "identity", "modality"])
def test_a_missing_column_is_named(file: Path, column: str) -> None:
    table = write(file, *without(column))
    (fault,) = table.faults
    assert (fault.line, fault.message.split(";")[0]) == (1, f"lacks the columns {column}")
    has_fault = rf"images.csv, line 1: lacks the columns {column}; it has 'path|iden"
    with pytest.raises(UserError, match=has_fault):
        table.trial(1)


def test_spaces_between_columns_and_a_column_twice(file: Path) -> None:
    file.write_text("path identity modality\na.jpg 1 visible\n")
    (fault,) = read_csv_table(file).faults
    assert "lacks the columns path, identity, modality" in fault.message
    assert "'path identity modality'" in fault.message and "commas" in fault.message
    faults = write(file, [(*row, "1") for row in ROWS], (*COLUMNS, "identity")).faults
    assert [str(fault) for fault in faults] == [
        "images.csv, line 1: has the column identity twice; remove one"
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "has no rows"),
        (b"\n \n", "has no rows"),
        (b"path,identity,modality\n", "has no rows"),
        ("path,identity,modality\né.jpg,1,visible\n".encode("latin-1"), "is not UTF-8 or UTF-16 text"),
        (b"\xff\xfep\0a", "is not UTF-8 or UTF-16 text"),
    ],
)
def test_other_files_are_refused(file: Path, content: bytes, what: str) -> None:
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_csv_table(file)
    assert str(caught.value).startswith(f"{file}: {what}; ")


def test_quotation_marks_that_do_not_close(file: Path) -> None:
    file.write_text('path,identity,modality\n"a.jpg,1,visible\nb.jpg,1,visible\n')
    with pytest.raises(UserError, match=r"images.csv, line \d: is not CSV \(.*\); correct it"):
        read_csv_table(file)


def test_a_missing_file_and_a_folder_are_refused(file: Path) -> None:
    for path, what in ((file, "no such file"), (file.parent, "this is a folder")):
        message = f"{what}; give a CSV or Parquet file with .*path, identity"
        with pytest.raises(UserError, match=message):
            read_csv_table(path)


@given(content=st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_after_a_good_table_is_blank_or_a_fault(file: Path, content: bytes) -> None:
    write(file, ROWS)
    good = file.read_bytes()
    file.write_bytes(good + content)
    try:
        has_fault = bool(read_csv_table(file).faults)
    except UserError as problem:
        has_fault = len(str(problem).splitlines()) == 1
    text = content.decode(errors="replace")
    if not text.strip(", \t\r\n"):
        assert not has_fault  # blank lines and rows of empty cells
    elif text.translate(str.maketrans("", "", ',"')).strip():
        assert has_fault
