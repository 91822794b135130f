"""Distances and the map of embeddings, against loops and by construction."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np

from tests.unit.evaluation.test_ranked_lists import images
from tsme.data.types import MODALITIES, Split
from tsme.evaluation import embedding_space
from tsme.evaluation.embedding_space import map_embeddings, measure_distances


def random_split(seed: int = 0, count: int = 30):
    random = np.random.default_rng(seed)
    split = Split(
        images("visible", random.integers(0, 5, count)), images("infrared", random.integers(0, 5, count))
    )
    embeddings = {m: random.normal(size=(count, 6)).astype(np.float32) for m in MODALITIES}
    return embeddings, split


def test_histograms_equal_a_loop_over_all_pairs():
    embeddings, split = random_split()
    measured = measure_distances(embeddings, split)
    pairs = {
        "visible and infrared": product(range(30), range(30)),
        "visible": combinations(range(30), 2),
        "infrared": combinations(range(30), 2),
    }
    for name, indices in pairs.items():
        one, two = ("visible", "infrared") if " and " in name else (name, name)
        found: dict[bool, list[float]] = {True: [], False: []}
        for i, j in indices:
            a, b = embeddings[one][i], embeddings[two][j]
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            found[bool(split[one].identities[i] == split[two].identities[j])].append(1 - cosine)
        histogram = measured.histograms[name]
        assert histogram.same == np.histogram(found[True], measured.edges)[0].tolist()
        assert histogram.different == np.histogram(found[False], measured.edges)[0].tolist()


def test_large_data_are_sampled(monkeypatch):
    monkeypatch.setattr(embedding_space, "MAX_IMAGES", 8)
    embeddings, split = random_split()
    histogram = measure_distances(embeddings, split).histograms["visible and infrared"]
    assert sum(histogram.same) + sum(histogram.different) == 8 * 8


def test_the_map_keeps_distances_of_embeddings_that_lie_in_a_plane():
    random = np.random.default_rng(2)
    split = Split(images("visible", [0, 1, 2]), images("infrared", [0, 1, 2]))
    plane = np.linalg.qr(random.normal(size=(6, 2)))[0].T
    flat = {m: (random.normal(size=(3, 2)) @ plane).astype(np.float32) for m in MODALITIES}
    drawn = map_embeddings(flat, split)
    assert np.isclose(sum(drawn.explained), 1)
    points = [point for m in MODALITIES for point in drawn.points[m]]
    rows = np.concatenate([flat[m] for m in MODALITIES])
    for i, j in combinations(range(6), 2):
        apart = np.hypot(points[i].x - points[j].x, points[i].y - points[j].y)
        assert np.isclose(apart, np.linalg.norm(rows[i] - rows[j]), atol=1e-3)
    assert [point.identity for point in drawn.points["visible"]] == [0, 1, 2]


def test_marked_identities_and_images_are_few(monkeypatch):
    monkeypatch.setattr(embedding_space, "MAPPED_IDENTITIES", 2)
    monkeypatch.setattr(embedding_space, "MAPPED_IMAGES", 3)
    monkeypatch.setattr(embedding_space, "MAPPED_OTHERS", 4)
    embeddings, split = random_split(count=60)
    for points in map_embeddings(embeddings, split).points.values():
        marked = [point.identity for point in points if point.identity is not None]
        assert set(marked) == {0, 4} and len(marked) == 6 and len(points) == 10
