"""The known layouts of data sets, by their name on the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tsme.config import DatasetName
from tsme.data.datasets.csv_table import read_csv_table
from tsme.data.datasets.llcm import read_llcm
from tsme.data.datasets.regdb import read_regdb
from tsme.data.datasets.sysu import read_sysu
from tsme.data.types import Dataset
from tsme.storage.local_copy import LocalCopy
from tsme.storage.object_store import AnyPath

READERS: dict[DatasetName, Callable[[Path], Dataset]] = {
    "regdb": read_regdb,
    "sysu": read_sysu,
    "llcm": read_llcm,
    "csv": read_csv_table,
}


def open_dataset(name: DatasetName, data: AnyPath) -> Dataset:
    """Scan the lists and folders of a data set once. No image is read.

    `data` is its folder or, for "csv", the CSV or Parquet file; remote data are copied to this machine.
    Raises UserError if there is no such data set.
    """
    read = READERS[name]
    if isinstance(data, Path):
        return read(data)
    if data.is_file():
        copy = LocalCopy.of(data.parent)
        return replace(read(copy.path / data.name), location=copy)
    copy = LocalCopy.of(data)
    return replace(read(copy.path), location=copy)
