"""A data set is scanned once: what the scan found is passed on, also to other processes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tests.support.file_access import counting
from tests.unit.data.datasets.csv_table_cases import ROWS, place_images, write
from tsme.config import DatasetName, EvaluationConfig
from tsme.data.check import check
from tsme.data.datasets.registry import open_dataset
from tsme.data.fingerprint import fingerprint
from tsme.data.image_cache import ImageCache
from tsme.evaluation.protocols import searches
from tsme.synthetic.generate import generate


@pytest.mark.parametrize("layout", ["regdb", "sysu", "llcm", "csv"])
def test_lists_and_folders_are_read_once(layout: DatasetName, tmp_path: Path) -> None:
    """Everything that a command does with a data set, without training."""
    root = tmp_path / "data"
    generate(root, layout=layout, identities=8, images=2, seed=0, size=(16, 32), workers=1)
    with counting(root) as (listed, opened):
        dataset = open_dataset(layout, root / "people.csv" if layout == "csv" else root)
        cache = ImageCache(dataset, fingerprint(dataset), 8, 4)
        cache.prepare()
        sent: ImageCache = pickle.loads(pickle.dumps(cache))  # as to a Ray worker
        for number in sent.dataset.trials:
            trial = sent.dataset.trial(number)
            sent.split(trial.train)
            searches(sent.dataset, trial, EvaluationConfig())
    assert listed and set(listed.values()) == {1}, listed
    lists = {path: count for path, count in opened.items() if path.endswith((".txt", ".csv"))}
    assert set(lists) == set(dataset.lists) and set(lists.values()) == {1}, lists
    images = {path: count for path, count in opened.items() if path not in lists}
    assert set(images.values()) == {2}  # hashed, then decoded


def test_a_check_reads_each_file_once(regdb: Path) -> None:
    with counting(regdb) as (listed, opened):
        assert check(open_dataset("regdb", regdb)).ok
    assert set(listed.values()) == set(opened.values()) == {1}


def test_images_of_a_table_are_found_by_listing_their_folders(tmp_path: Path) -> None:
    place_images(tmp_path)
    with counting(tmp_path) as (listed, opened):
        dataset = write(tmp_path / "images.csv", ROWS)
    assert dataset.faults == () and listed == {".": 1, "v": 1, "n": 1}
    assert opened["images.csv"] == 2  # written and read
