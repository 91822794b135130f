"""Ranking in galleries far larger than any data set's, in bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from tsme.evaluation import evaluate

QUERIES, IMAGES, WIDTH = 2_000, 10, 8


def clustered(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features around a centre for each identity, ten images each, and identities."""
    ids = np.arange(count) // IMAGES
    centres = np.random.default_rng(0).standard_normal((ids[-1] + 1, WIDTH), dtype=np.float32)
    noise = np.random.default_rng(seed).standard_normal((count, WIDTH), dtype=np.float32)
    return centres[ids] + 0.1 * noise, ids


def naive(query: np.ndarray, query_id: int, gallery: np.ndarray, ids: np.ndarray) -> tuple[float, float]:
    """AP and INP of one query, by a full sort."""
    ranks = 1 + np.flatnonzero(ids[np.argsort(-(gallery @ query), kind="stable")] == query_id)
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks)), len(ranks) / float(ranks[-1])


@pytest.mark.slow
@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_memory_does_not_grow_with_the_gallery(size):
    queries, query_ids = clustered(QUERIES, 1)
    gallery, gallery_ids = clustered(size, 2)
    tracemalloc.start()
    metrics = evaluate(queries, query_ids, gallery, gallery_ids)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert metrics.queries == QUERIES
    # A few numbers for each identity and gallery image, and blocks; the similarity matrix would be 0.8
    # and 8 GB.
    assert peak < 50e6
    for query in (0, 777, 1999):
        expected = naive(queries[query], query_ids[query], gallery, gallery_ids)
        alone = evaluate(queries[[query]], query_ids[[query]], gallery, gallery_ids)
        assert (alone.mAP, alone.mINP) == pytest.approx(expected, rel=1e-6)
