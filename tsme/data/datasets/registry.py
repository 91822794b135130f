"""The known layouts of data sets, by the name they have on the command line."""

from __future__ import annotations

from pathlib import Path

from tsme.config import DatasetName
from tsme.data.datasets.csv_table import CsvTable
from tsme.data.datasets.llcm import Llcm
from tsme.data.datasets.regdb import RegDB
from tsme.data.datasets.remote import Reader, open_remote
from tsme.data.datasets.sysu import Sysu
from tsme.data.types import Dataset
from tsme.storage.object_store import AnyPath

READERS: dict[DatasetName, Reader] = {"regdb": RegDB, "sysu": Sysu, "llcm": Llcm, "csv": CsvTable}


def open_dataset(name: DatasetName, data: AnyPath) -> Dataset:
    """The data set at `data`: its folder, or for "csv" the CSV or Parquet file. No image is read yet."""
    layout = READERS[name]
    return layout(data) if isinstance(data, Path) else open_remote(layout, data)
