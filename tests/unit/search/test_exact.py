"""Exact search against a full sort, and its memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tsme.search import exact

SEARCH = """
import sys
from pathlib import Path
import numpy as np
from tsme.search import exact
from tsme.search.index import load_vectors

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

files = sorted(Path(sys.argv[1]).glob("*.npy"))
shard = len(load_vectors(files[0]))
queries = np.load(sys.argv[2])
exact.search([(0, load_vectors(files[0])[:300])], queries, 10)  # the libraries' own memory
before = peak()
_, rows = exact.search(((k * shard, load_vectors(file)) for k, file in enumerate(files)), queries, 10)
print(peak() // 1024, (peak() - before) // 1024, *rows[:, 0])
"""


def full_sort(vectors: np.ndarray, queries: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return np.take_along_axis(scores, rows, axis=1), rows


def blocks(vectors: np.ndarray, size: int) -> list[tuple[int, np.ndarray]]:
    return [(start, vectors[start : start + size]) for start in range(0, len(vectors), size)]


@pytest.mark.parametrize("top", [1, 7, 50])
@pytest.mark.parametrize("size", [40, 300, 1000])
def test_results_are_those_of_a_full_sort(unit_vectors, size: int, top: int):
    vectors, queries = unit_vectors(1000, 24), unit_vectors(5, 24, 1).astype(np.float32)
    scores, rows = exact.search(blocks(vectors, size), queries, top)
    expected, order = full_sort(vectors, queries, top)
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)


def test_equal_scores_are_ordered_by_row():
    vectors = np.tile(np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float16), (100, 1))
    scores, rows = exact.search(blocks(vectors, 64), np.array([[1, 0]], dtype=np.float32), 300)
    np.testing.assert_array_equal(scores[0], np.repeat([1, 0, -1], 100))
    np.testing.assert_array_equal(rows[0], np.arange(300).reshape(100, 3).T.ravel())


def test_fewer_vectors_than_results_give_all(unit_vectors):
    scores, rows = exact.search(blocks(unit_vectors(3, 8), 2), np.eye(8, dtype=np.float32)[:2], 10)
    assert scores.shape == rows.shape == (2, 3)
    assert sorted(rows[0]) == [0, 1, 2]


def measured(folder: Path, queries: np.ndarray) -> tuple[int, int, list[int]]:
    """Peak resident memory of a search in a process of its own, in MB: all, and that of the search."""
    np.save(folder.parent / "queries.npy", queries)
    command = [sys.executable, "-c", SEARCH, str(folder), str(folder.parent / "queries.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    total, own, *rows = map(int, done.stdout.split())
    return total, own, rows


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_memory_is_that_of_one_shard(tmp_path: Path, unit_vectors):
    """300 MB: 48 links to one shard of 6 MB, each of which is mapped for itself."""
    (folder := tmp_path / "shards").mkdir()
    vectors = unit_vectors(1024, 3072)
    np.save(folder / "00.npy", vectors)
    for number in range(1, 48):
        os.link(folder / "00.npy", folder / f"{number:02d}.npy")
    total, own, rows = measured(folder, vectors[[5, 77]].astype(np.float32))
    assert rows == [5, 77]
    assert own < 60 and total < 1000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_million_vectors_are_searched_in_two_gigabytes(tmp_path: Path, unit_vectors):
    (folder := tmp_path / "shards").mkdir()
    vectors = unit_vectors(8192, 3072)
    for number in range(123):  # rotated: other vectors, without the time to draw them
        np.save(folder / f"{number:03d}.npy", np.roll(vectors, number, axis=1))
    queries = np.roll(vectors[[3, 8000]], 99, axis=1).astype(np.float32)
    total, own, rows = measured(folder, queries)
    assert rows == [99 * 8192 + 3, 99 * 8192 + 8000]
    assert own < 100 and total < 1000
