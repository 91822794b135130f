"""The table that the tests of CSV tables write and read."""

from pathlib import Path

import pytest

from tests.unit.data.datasets.csv_table_cases import place_images


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of the table; its images exist."""
    place_images(tmp_path / "mine")
    return tmp_path / "mine/images.csv"
