"""The known layouts of data sets, by the name they have on the command line."""

from __future__ import annotations

from pathlib import Path

from tsme.config import DatasetName
from tsme.data.dataset import Dataset
from tsme.data.fetched import Layout, open_remote
from tsme.data.llcm import Llcm
from tsme.data.regdb import RegDB
from tsme.data.sysu import Sysu
from tsme.data.table import Table
from tsme.remote import AnyPath

LAYOUTS: dict[DatasetName, Layout] = {"regdb": RegDB, "sysu": Sysu, "llcm": Llcm, "csv": Table}


def open_dataset(name: DatasetName, data: AnyPath) -> Dataset:
    """The data set at `data`: its folder, or for "csv" the CSV or Parquet file. No image is read yet."""
    layout = LAYOUTS[name]
    return layout(data) if isinstance(data, Path) else open_remote(layout, data)
