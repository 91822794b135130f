"""The known layouts of data sets, by the name they have on the command line."""

from __future__ import annotations

from pathlib import Path

from tsme.config import DatasetName
from tsme.data.dataset import Dataset
from tsme.data.llcm import Llcm
from tsme.data.regdb import RegDB
from tsme.data.sysu import Sysu
from tsme.data.table import Table


def open_dataset(name: DatasetName, data: Path) -> Dataset:
    """The data set at `data`: its folder, or for "csv" the CSV or Parquet file. Nothing is read yet."""
    match name:
        case "regdb":
            return RegDB(data)
        case "sysu":
            return Sysu(data)
        case "llcm":
            return Llcm(data)
        case "csv":
            return Table(data)
