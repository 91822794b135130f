"""The rows of a CSV or Parquet file as text, before anything is checked."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tsme.data.datasets.folder import decode_text, quote
from tsme.data.types import Fault
from tsme.errors import UserError

_PARQUET = (".parquet", ".pq")
_SEPARATORS = ",;\t"


class TableRow(NamedTuple):
    """Text by column. `line` counts from 1: lines of a CSV file, rows of a Parquet file."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class Table:
    """Column names, the rows that have a cell for each column, and faults for the others."""

    header: list[str]
    rows: list[TableRow]
    faults: list[Fault]


def read_table(file: Path, content: bytes, columns: tuple[str, ...]) -> Table:
    """Parse the content of a table file. `columns` are the known column names, in any letter case.

    Raises UserError if the file is no table.
    """
    known = {name.casefold(): name for name in columns}
    if file.suffix.lower() in _PARQUET:
        return _read_parquet(file, content, known)
    return _read_csv(file, content, known)


def _read_csv(file: Path, content: bytes, known: dict[str, str]) -> Table:
    try:
        text = decode_text(content)
    except UnicodeError as error:
        raise UserError(f"{file}: is not UTF-8 or UTF-16 text; save it as CSV in UTF-8") from error
    first_line = next((line for line in text.splitlines() if line.strip()), "")
    # Spreadsheets of countries with a decimal comma separate by semicolons.
    separator = max(_SEPARATORS, key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    table = Table([], [], [])
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not table.header:
                table.header.extend(known.get(cell.casefold(), cell) for cell in cells)
            elif len(cells) == len(table.header):
                table.rows.append(TableRow(reader.line_num, dict(zip(table.header, cells, strict=True))))
            else:
                message = f"has {len(cells)} cells, but there are {len(table.header)} columns; correct it"
                table.faults.append(Fault(file.name, reader.line_num, message))
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: is not CSV ({error}); correct it") from error
    if not (table.rows or table.faults):
        raise UserError(f"{file}: has no rows; write a line of column names, then one for each image")
    return table


def _read_parquet(file: Path, content: bytes, known: dict[str, str]) -> Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        advice = "install it (pip install pyarrow), or save the table as CSV"
        raise UserError(f"{file}: reading Parquet requires pyarrow; {advice}") from error
    try:
        with parquet.ParquetFile(pyarrow.BufferReader(content)) as source:
            names = source.schema_arrow.names
            table = source.read(columns=[name for name in names if name.casefold() in known])
        read = [known[name.casefold()] for name in table.column_names]
        columns = [column.cast(pyarrow.string()).to_pylist() for column in table.columns]
    except (pyarrow.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        what = f"cannot be read as a Parquet table of text and numbers ({quote(reason)})"
        raise UserError(f"{file}: {what}; write it again") from error
    rows = [
        TableRow(line, {name: (cell or "").strip() for name, cell in zip(read, cells, strict=True)})
        for line, cells in enumerate(zip(*columns, strict=True), start=1)
    ]
    return Table([known.get(name.casefold(), name) for name in names], rows, [])
