"""Parquet tables: the same result as from CSV, and the faults of bad ones."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.unit.data.datasets.csv_table_cases import (
    COLUMNS,
    EXPECTED,
    ROWS,
    contents,
    place_images,
    write,
)
from tsme.data.datasets.csv_table import read_csv_table
from tsme.errors import UserError


def columns(**changed: Any) -> dict[str, Any]:
    """The good rows by column, numbers as numbers; `changed` columns replace them or, if None, go."""
    table: dict[str, Any] = dict(zip(COLUMNS, map(list, zip(*ROWS, strict=True)), strict=True))
    table["identity"] = [int(text) for text in table["identity"]]
    table["modality"] = pa.array(table["modality"]).dictionary_encode()
    return {name: value for name, value in (table | changed).items() if value is not None}


@pytest.fixture
def parquet_file(tmp_path: Path) -> Path:
    """The path of the table; its images exist."""
    place_images(tmp_path)
    return tmp_path / "images.parquet"


@pytest.mark.parametrize("cameras", [np.int8, np.float64, str])
def test_parquet_is_read_as_csv_is(parquet_file: Path, cameras: type) -> None:
    typed = np.array([int(row[2]) for row in ROWS]).astype(cameras)
    padded = [f" {row[4]} " for row in ROWS]
    parquet.write_table(pa.table(columns(camera=typed, split=padded)), parquet_file)
    table = read_csv_table(parquet_file)
    assert contents(table.trial(1)) == EXPECTED
    assert ([*table.lists], table.warnings) == (["images.parquet"], ())


def test_faults_of_parquet_are_in_its_rows(parquet_file: Path) -> None:
    identities = [int(row[1]) for row in ROWS[:-1]] + [None]
    parquet.write_table(pa.table(columns(identity=identities, note=[1] * len(ROWS))), parquet_file)
    findings = read_csv_table(parquet_file)
    assert [str(fault) for fault in findings.faults] == [
        f"images.parquet, line {len(ROWS)}: identity is empty; fill it in"
    ]
    assert findings.warnings == ("ignored columns: 'note'",)


def test_parquet_without_a_column_and_with_one_twice(parquet_file: Path) -> None:
    parquet.write_table(pa.table(columns(path=None, split=None)), parquet_file)
    (fault,) = read_csv_table(parquet_file).faults
    assert "lacks the columns path; it has 'identity, camera, modality'" in fault.message
    table = pa.table(columns())
    parquet.write_table(table.append_column("path", table["path"]), parquet_file)
    (fault,) = read_csv_table(parquet_file).faults
    assert fault.message == "has the column path twice; remove one"


@pytest.mark.parametrize("content", [b"", b"path,identity,modality\na.jpg,1,visible\n", b"PAR1" * 10])
def test_broken_parquet(parquet_file: Path, content: bytes) -> None:
    parquet_file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_csv_table(parquet_file)
    message = str(caught.value)
    assert message.startswith(f"{parquet_file}: cannot be read as a Parquet table")
    assert len(message.splitlines()) == 1 and len(message) < 400


def test_truncated_parquet_and_columns_of_lists(parquet_file: Path) -> None:
    parquet.write_table(pa.table(columns()), parquet_file)
    whole = parquet_file.read_bytes()
    for length in (len(whole) // 2, len(whole) - 1):
        parquet_file.write_bytes(whole[:length])
        with pytest.raises(UserError, match="cannot be read as a Parquet table"):
            read_csv_table(parquet_file).trial(1)
    parquet.write_table(pa.table(columns(identity=[[1]] * len(ROWS))), parquet_file)
    with pytest.raises(UserError, match="cannot be read as a Parquet table of text and numbers"):
        read_csv_table(parquet_file).trial(1)


def test_parquet_without_pyarrow(parquet_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet.write_table(pa.table(columns()), parquet_file)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"requires pyarrow; install it .*or save the table as CSV"):
        read_csv_table(parquet_file).trial(1)
    assert contents(write(parquet_file.with_name("images.csv"), ROWS).trial(1)) == EXPECTED
