"""Tables of one's own: what a good one gives, how people are divided, and every kind of bad one."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tsme.data.records import MODALITIES, Trial
from tsme.data.table import Table
from tsme.errors import UserError

COLUMNS = ("path", "identity", "camera", "modality", "split")
# Without a header; person 7 is in two cameras, 40 and 9 are to test on, 3 to validate with.
ROWS = [
    ("v/c.jpg", "7", "4", "visible", "train"),
    ("v/a.jpg", "12", "2", "visible", "train"),
    ("n/b.png", "7", "9", "infrared", "train"),
    ("n/a.png", "12", "9", "infrared", "train"),
    ("v/d.jpg", "3", "2", "visible", "validation"),
    ("n/d.png", "3", "9", "infrared", "validation"),
    ("v/e.jpg", "40", "4", "visible", "test"),
    ("n/e.png", "40", "9", "infrared", "test"),
    ("f.jpg", "9", "2", "visible", "test"),
    ("f.png", "9", "9", "infrared", "test"),
    ("v/g.jpg", "7", "2", "visible", "train"),
]


def write(file: Path, rows: list[tuple[str, ...]], columns: tuple[str, ...] = COLUMNS) -> Table:
    file.write_text("".join(",".join(row) + "\n" for row in [columns, *rows]))
    return Table(file)


def without(
    column: str, rows: list[tuple[str, ...]] = ROWS
) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    at = COLUMNS.index(column)
    return [row[:at] + row[at + 1 :] for row in rows], COLUMNS[:at] + COLUMNS[at + 1 :]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the table goes; its images are there."""
    root = tmp_path / "mine"
    for row in ROWS:
        (root / row[0]).parent.mkdir(parents=True, exist_ok=True)
        (root / row[0]).touch()
    return root / "images.csv"


def contents(trial: Trial) -> dict[str, list[tuple[str, int, int]]]:
    """Path, identity and camera of each image, by split and modality."""
    return {
        f"{name} {modality}": list(
            zip(
                split[modality].paths,
                split[modality].identities.tolist(),
                split[modality].cameras.tolist(),
                strict=True,
            )
        )
        for name, split in (("train", trial.train), ("test", trial.test))
        for modality in MODALITIES
    }


EXPECTED = {
    "train visible": [("v/c.jpg", 7, 4), ("v/a.jpg", 12, 2), ("v/d.jpg", 3, 2), ("v/g.jpg", 7, 2)],
    "train infrared": [("n/b.png", 7, 9), ("n/a.png", 12, 9), ("n/d.png", 3, 9)],
    "test visible": [("v/e.jpg", 40, 4), ("f.jpg", 9, 2)],
    "test infrared": [("n/e.png", 40, 9), ("f.png", 9, 9)],
}


def test_images_keep_the_order_of_the_file(file: Path) -> None:
    table = write(file, ROWS)
    trial = table.read(1)
    assert contents(trial) == EXPECTED
    assert (trial.number, trial.validation) == (1, (3,))
    assert table.examine().warnings == ()
    assert (table.root, table.lists(), table.trials()) == (file.parent, ["images.csv"], [1])
    for images in (trial.train.visible, trial.test.infrared):
        assert images.root == file.parent
        assert images.identities.dtype == images.cameras.dtype == "int64"


def test_harmless_differences_change_nothing(file: Path) -> None:
    file.write_bytes(
        b"\xef\xbb\xbf identity,path , modality,split,camera\r\n"
        + b"".join(
            f'  {person},"./{path}",{modality} ,{split},{camera}\r\n\r\n'.encode()
            for path, person, camera, modality, split in ROWS
        )
        + b",,,,\r\n"
    )
    assert contents(Table(file).read(1)) == EXPECTED


def test_a_comma_and_a_line_break_within_a_cell(file: Path) -> None:
    (file.parent / "a, b.jpg").touch()
    rows = [
        *ROWS,
        ('"a, b.jpg"', "40", '"yard\n2"', "visible", "test"),
        ("no.jpg", "40", "1", "visible", "test"),
    ]
    (fault,) = write(file, rows).examine().faults
    assert (fault.line, "no.jpg" in fault.message) == (len(ROWS) + 4, True)
    assert "a, b.jpg" in Table(file).examine().trials[0].test.visible.paths


def test_without_cameras_each_modality_has_its_own(file: Path) -> None:
    trial = write(file, *without("camera")).read(1)
    for split in (trial.train, trial.test):
        assert set(split.visible.cameras.tolist()) == {1}
        assert set(split.infrared.cameras.tolist()) == {2}


def test_texts_are_numbered_in_sorted_order(file: Path) -> None:
    names = {"7": "zoe", "12": "ann", "3": "7", "40": "Bob", "9": "-1"}  # sorted: -1 7 Bob ann zoe
    rows = [(path, names[person], f"c{camera}", *rest) for path, person, camera, *rest in ROWS]
    trial = write(file, rows).read(1)
    assert trial.train.visible.identities.tolist() == [5, 4, 2, 5]
    assert trial.test.visible.identities.tolist() == [3, 1]
    assert trial.validation == (2,)
    assert trial.train.visible.cameras.tolist() == [2, 1, 1, 1]  # c2 c4 c9
    assert trial.train.infrared.cameras.tolist() == [3, 3, 3]


def people(file: Path, both: int, visible_only: int = 0) -> list[tuple[str, ...]]:
    """Rows without split: `both` people in both modalities, then some in one."""
    rows = []
    for person in range(1, both + visible_only + 1):
        for modality in MODALITIES[: 2 if person <= both else 1]:
            rows.append((f"{person}-{modality}.jpg", str(person), "1", modality))
            (file.parent / rows[-1][0]).touch()
    return rows


NO_SPLIT = COLUMNS[:-1]


@pytest.mark.parametrize(("both", "trained"), [(4, 2), (9, 4), (20, 10)])
def test_half_of_the_people_are_drawn_to_train(file: Path, both: int, trained: int) -> None:
    rows = people(file, both, visible_only=3)
    findings = write(file, rows, NO_SPLIT).examine()
    (trial,) = findings.trials
    assert findings.faults == ()
    assert len(trial.train.identities) == trained
    assert sorted(trial.train.identities + trial.test.identities) == list(range(1, both + 1))
    alone = set(range(both + 1, both + 4))
    assert alone <= set(trial.test.visible.identities.tolist())
    assert trial.validation == ()
    assert findings.warnings == (
        f"no split column: {trained} people were drawn to train on, "
        f"the other {both - trained + 3} are to test on",
    )


def test_the_draw_depends_on_the_people_alone(file: Path) -> None:
    rows = people(file, 20)
    drawn = write(file, rows, NO_SPLIT).read(1).train.identities
    # Pinned: another draw would divide the people of everyone's tables anew.
    assert drawn == [1, 4, 5, 8, 14, 15, 17, 18, 19, 20]
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(rows))
        shuffled = write(file, [rows[row] for row in order], NO_SPLIT)
        assert shuffled.read(1).train.identities == drawn


def test_people_in_one_modality_are_not_trained_on_but_stay_in_the_test(file: Path) -> None:
    for name in ("x.jpg", "y.jpg", "z.jpg"):
        (file.parent / name).touch()
    alone = [
        ("x.jpg", "50", "1", "visible", "train"),
        ("y.jpg", "45", "1", "visible", "validation"),
        ("z.jpg", "60", "1", "infrared", "test"),
    ]
    findings = write(file, [*ROWS, *alone]).examine()
    (trial,) = findings.trials
    assert findings.faults == ()
    assert trial.train.visible.identities.tolist() == [7, 12, 3, 7]
    assert trial.validation == (3,)
    assert trial.test.infrared.identities.tolist() == [40, 9, 60]
    (warning,) = findings.warnings
    assert warning.startswith("2 training people") and "first 45;" in warning


def test_columns_that_mean_nothing_are_told(file: Path) -> None:
    rows, columns = without("split")
    rows = [(*row, "train", "x") for row in rows]
    warnings = write(file, rows, (*columns, "Split", "note")).examine().warnings
    assert warnings[0] == "columns that mean nothing here: 'Split', 'note'"
    assert warnings[1].startswith("no split column")


Change = Callable[[list[list[str]]], object]


def cell(row: int, column: str, text: str) -> Change:
    """Rows count from 0, so row 0 is line 2 of the file."""

    def change(rows: list[list[str]]) -> None:
        rows[row][COLUMNS.index(column)] = text

    return change


# Name -> change to the good rows, line of the first fault, and what its message holds.
BAD: dict[str, tuple[Change, int | None, tuple[str, ...]]] = {
    "unknown modality": (cell(1, "modality", "rgb"), 3, ("'rgb'", "visible or infrared")),
    "modality in capitals": (cell(0, "modality", "Visible"), 2, ("'Visible'",)),
    "unknown split": (cell(3, "split", "val"), 5, ("'val'", "train, validation or test")),
    **{f"empty {name}": (cell(2, name, " "), 4, (f"{name} is empty",)) for name in COLUMNS},
    "absolute path": (cell(0, "path", "/data/v/c.jpg"), 2, ("'/data/v/c.jpg'", "absolute")),
    "drive": (cell(0, "path", r"C:\v\c.jpg"), 2, ("absolute",)),
    "climbing path": (cell(0, "path", "../mine/v/c.jpg"), 2, ("'..'",)),
    "path twice": (cell(6, "path", "v/c.jpg"), 8, ("'v/c.jpg'", "already on line 2")),
    "path twice, written differently": (cell(6, "path", "./v//c.jpg"), 8, ("already on line 2",)),
    "missing file": (cell(4, "path", "v/none.jpg"), 6, ("'v/none.jpg'", "is missing")),
    "missing folder": (cell(4, "path", "none/d.jpg"), 6, ("'none/d.jpg'", "is missing")),
    "folder for file": (cell(4, "path", "v"), 6, ("'v'", "is missing")),
    "zero byte": (cell(4, "path", "v\0/d.jpg"), 6, ("is missing",)),
    "too few cells": (lambda rows: rows[5].pop(), 7, ("4 cells", "5 columns")),
    "too many cells": (lambda rows: rows[5].append("x"), 7, ("6 cells", "5 columns")),
    "train and test": (
        cell(10, "split", "test"),
        12,
        ("person '7'", "split train on line 2", "test here"),
    ),
    "train and validation": (cell(2, "split", "validation"), 4, ("train on line 2", "validation here")),
    "the same number": (cell(6, "identity", "007"), 8, ("person '007'", "train on line 2", "test here")),
    "one person to train on": (
        lambda rows: [row.__setitem__(4, "test") for row in rows if row[1] in ("7", "3")],
        None,
        ("only 1 of the people with split 'train'", "at least 2"),
    ),
    "one person to test on": (
        lambda rows: rows.__delitem__(slice(8, 10)),
        None,
        ("only 1 of the people with split 'test'", "at least 2"),
    ),
}


@pytest.mark.parametrize(("change", "line", "parts"), BAD.values(), ids=BAD.keys())
def test_bad_rows_are_named(file: Path, change: Change, line: int | None, parts: tuple[str, ...]) -> None:
    rows = [list(row) for row in ROWS]
    change(rows)
    table = write(file, [tuple(row) for row in rows])
    first = table.examine().faults[0]
    assert (first.file, first.line) == ("images.csv", line)
    for part in parts:
        assert part in first.message
    with pytest.raises(UserError) as caught:
        table.read(1)
    assert str(caught.value) == f"{file.parent}/{first}"
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 500


def test_all_faults_are_found_and_the_rest_is_kept(file: Path) -> None:
    rows = [list(row) for row in ROWS]
    for change in (cell(0, "modality", "x"), cell(3, "path", "gone.png"), lambda rows: rows[8].pop()):
        change(rows)
    findings = write(file, [tuple(row) for row in rows]).examine()
    assert sorted(fault.line or 0 for fault in findings.faults) == [2, 5, 10]
    (trial,) = findings.trials
    assert trial.test.visible.paths == ("v/e.jpg",)
    assert trial.train.identities == [3, 7]


@pytest.mark.parametrize("column", ["path", "identity", "modality"])
def test_a_missing_column_is_named(file: Path, column: str) -> None:
    table = write(file, *without(column))
    (fault,) = table.examine().faults
    assert (fault.line, fault.message.split(";")[0]) == (1, f"lacks the columns {column}")
    with pytest.raises(
        UserError, match=rf"images.csv, line 1: lacks the columns {column}; it has 'path|iden"
    ):
        table.read(1)


def test_semicolons_and_a_column_twice(file: Path) -> None:
    file.write_text("path;identity;modality\na.jpg;1;visible\n")
    (fault,) = Table(file).examine().faults
    assert "lacks the columns path, identity, modality" in fault.message
    assert "'path;identity;modality'" in fault.message and "commas" in fault.message
    faults = write(file, [(*row, "1") for row in ROWS], (*COLUMNS, "identity")).examine().faults
    assert [str(fault) for fault in faults] == [
        "images.csv, line 1: has the column identity twice; remove one"
    ]


def test_too_few_people_to_divide(file: Path) -> None:
    (fault,) = write(file, people(file, 3, visible_only=4), NO_SPLIT).examine().faults
    assert fault.line is None
    assert "only 3 of the people, to be divided" in fault.message and "at least 4" in fault.message


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "has no rows"),
        (b"\n \n", "has no rows"),
        (b"path,identity,modality\n", "has no rows"),
        ("path,identity,modality\né.jpg,1,visible\n".encode("latin-1"), "is not UTF-8 text"),
        ("path,identity,modality\na.jpg,1,visible\n".encode("utf-16"), "is not UTF-8 text"),
    ],
)
def test_a_file_that_is_no_table(file: Path, content: bytes, what: str) -> None:
    file.write_bytes(content)
    for ask in (Table(file).examine, lambda: Table(file).read(1)):
        with pytest.raises(UserError) as caught:
            ask()
        assert str(caught.value).startswith(f"{file}: {what}; ")


def test_quotation_marks_that_do_not_close(file: Path) -> None:
    file.write_text('path,identity,modality\n"a.jpg,1,visible\nb.jpg,1,visible\n')
    with pytest.raises(UserError, match=r"images.csv, line \d: is not CSV \(.*\); correct it"):
        Table(file).examine()


def test_no_file_and_a_folder(file: Path) -> None:
    for path, what in ((file, "no such file"), (file.parent, "this is a folder")):
        for ask in (Table(path).trials, Table(path).examine, lambda at=path: Table(at).read(1)):
            with pytest.raises(
                UserError, match=f"{what}; give a CSV or Parquet file with .*path, identity"
            ):
                ask()
    assert Table(file).lists() == []


@pytest.mark.parametrize("trial", [0, 2])
def test_there_is_one_trial(file: Path, trial: int) -> None:
    with pytest.raises(UserError, match=f"^trial {trial}: images.csv has only trial 1$"):
        write(file, ROWS).read(trial)


def columns(**changed: Any) -> dict[str, Any]:
    """The good rows by column, numbers as numbers, with some columns changed or, if None, left out."""
    table: dict[str, Any] = dict(zip(COLUMNS, map(list, zip(*ROWS, strict=True)), strict=True))
    table["identity"] = [int(text) for text in table["identity"]]
    table["modality"] = pa.array(table["modality"]).dictionary_encode()
    return {name: value for name, value in (table | changed).items() if value is not None}


@pytest.fixture
def parquet_file(file: Path) -> Path:
    return file.with_name("images.parquet")


@pytest.mark.parametrize("cameras", [np.int8, np.float64, str])
def test_parquet_is_read_as_csv_is(parquet_file: Path, cameras: type) -> None:
    typed = np.array([int(row[2]) for row in ROWS]).astype(cameras)
    padded = [f" {row[4]} " for row in ROWS]
    parquet.write_table(pa.table(columns(camera=typed, split=padded)), parquet_file)
    table = Table(parquet_file)
    assert contents(table.read(1)) == EXPECTED
    assert (table.lists(), table.examine().warnings) == (["images.parquet"], ())


def test_faults_of_parquet_are_in_its_rows(parquet_file: Path) -> None:
    identities = [int(row[1]) for row in ROWS[:-1]] + [None]
    parquet.write_table(pa.table(columns(identity=identities, note=[1] * len(ROWS))), parquet_file)
    findings = Table(parquet_file).examine()
    assert [str(fault) for fault in findings.faults] == [
        f"images.parquet, line {len(ROWS)}: identity is empty; fill it in"
    ]
    assert findings.warnings == ("columns that mean nothing here: 'note'",)


def test_parquet_without_a_column_and_with_one_twice(parquet_file: Path) -> None:
    parquet.write_table(pa.table(columns(path=None, split=None)), parquet_file)
    (fault,) = Table(parquet_file).examine().faults
    assert "lacks the columns path; it has 'identity, camera, modality'" in fault.message
    table = pa.table(columns())
    parquet.write_table(table.append_column("path", table["path"]), parquet_file)
    (fault,) = Table(parquet_file).examine().faults
    assert fault.message == "has the column path twice; remove one"


@pytest.mark.parametrize("content", [b"", b"path,identity,modality\na.jpg,1,visible\n", b"PAR1" * 10])
def test_broken_parquet(parquet_file: Path, content: bytes) -> None:
    parquet_file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        Table(parquet_file).examine()
    message = str(caught.value)
    assert message.startswith(f"{parquet_file}: cannot be read as a Parquet table")
    assert len(message.splitlines()) == 1 and len(message) < 400


def test_truncated_parquet_and_columns_of_lists(parquet_file: Path) -> None:
    parquet.write_table(pa.table(columns()), parquet_file)
    whole = parquet_file.read_bytes()
    for length in (len(whole) // 2, len(whole) - 1):
        parquet_file.write_bytes(whole[:length])
        with pytest.raises(UserError, match="cannot be read as a Parquet table"):
            Table(parquet_file).read(1)
    parquet.write_table(pa.table(columns(identity=[[1]] * len(ROWS))), parquet_file)
    with pytest.raises(UserError, match="cannot be read as a Parquet table of text and numbers"):
        Table(parquet_file).read(1)


def test_parquet_without_pyarrow(parquet_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet.write_table(pa.table(columns()), parquet_file)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"takes pyarrow; install it .*or save the table as CSV"):
        Table(parquet_file).read(1)
    assert contents(write(parquet_file.with_name("images.csv"), ROWS).read(1)) == EXPECTED


@given(content=st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_after_a_good_table_is_read_or_told(file: Path, content: bytes) -> None:
    good = write(file, ROWS).file.read_bytes()
    file.write_bytes(good + content)
    try:
        told = bool(Table(file).examine().faults)
    except UserError as problem:
        told = len(str(problem).splitlines()) == 1
    text = content.decode(errors="replace")
    if not text.strip(", \t\r\n"):
        assert not told  # blank lines and rows of empty cells
    elif text.translate(str.maketrans("", "", ',"')).strip():
        assert told
