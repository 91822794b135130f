"""CSV tables: what is read from a good one."""

from pathlib import Path

import pytest

from tests.unit.data.datasets.csv_table_cases import EXPECTED, ROWS, contents, without, write
from tsme.data.datasets.csv_table import read_csv_table
from tsme.errors import UserError


def test_images_keep_the_order_of_the_file(file: Path) -> None:
    table = write(file, ROWS)
    trial = table.trial(1)
    assert contents(trial) == EXPECTED
    assert (trial.number, trial.validation) == (1, (3,))
    assert table.warnings == ()
    assert (table.root, [*table.lists], [*table.trials]) == (file.parent, ["images.csv"], [1])
    for images in (trial.train.visible, trial.test.infrared):
        assert images.identities.dtype == images.cameras.dtype == "int64"


def test_harmless_differences_change_nothing(file: Path) -> None:
    file.write_bytes(
        b"\xef\xbb\xbf identity,path , modality,split,camera\r\n"
        + b"".join(
            f'  {identity},"./{path}",{modality} ,{split},{camera}\r\n\r\n'.encode()
            for path, identity, camera, modality, split in ROWS
        )
        + b",,,,\r\n"
    )
    assert contents(read_csv_table(file).trial(1)) == EXPECTED


def test_a_comma_and_a_line_break_within_a_cell(file: Path) -> None:
    (file.parent / "a, b.jpg").touch()
    rows = [
        *ROWS,
        ('"a, b.jpg"', "40", '"yard\n2"', "visible", "test"),
        ("no.jpg", "40", "1", "visible", "test"),
    ]
    (fault,) = write(file, rows).faults
    assert (fault.line, "no.jpg" in fault.message) == (len(ROWS) + 4, True)
    assert "a, b.jpg" in read_csv_table(file).trials[1].test.visible.paths


def test_without_cameras_each_modality_has_its_own(file: Path) -> None:
    trial = write(file, *without("camera")).trial(1)
    for split in (trial.train, trial.test):
        assert set(split.visible.cameras.tolist()) == {1}
        assert set(split.infrared.cameras.tolist()) == {2}


def test_texts_get_numbers_in_sorted_order(file: Path) -> None:
    names = {"7": "zoe", "12": "ann", "3": "7", "40": "Bob", "9": "-1"}  # sorted: -1 7 Bob ann zoe
    rows = [(path, names[identity], f"c{camera}", *rest) for path, identity, camera, *rest in ROWS]
    trial = write(file, rows).trial(1)
    assert trial.train.visible.identities.tolist() == [5, 4, 2, 5]
    assert trial.test.visible.identities.tolist() == [3, 1]
    assert trial.validation == (2,)
    assert trial.train.visible.cameras.tolist() == [2, 1, 1, 1]  # c2 c4 c9
    assert trial.train.infrared.cameras.tolist() == [3, 3, 3]


def test_ignored_columns_are_a_warning(file: Path) -> None:
    rows, columns = without("split")
    rows = [(*row, "train", "x") for row in rows]
    warnings = write(file, rows, (*columns, "fold", "note")).warnings
    assert warnings[0] == "ignored columns: 'fold', 'note'"
    assert warnings[1].startswith("no split column")


@pytest.mark.parametrize("trial", [0, 2])
def test_there_is_one_trial(file: Path, trial: int) -> None:
    with pytest.raises(UserError, match=f"^trial {trial}: {file.parent} has only trial 1$"):
        write(file, ROWS).trial(trial)
