"""Ranking and re-ranking of as many queries as RegDB has, in galleries of rising size.

Each person has ten images; in the larger galleries most are of people nobody asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.measure import Benchmark, Goal, Work, broadcast, peak_bytes
from tests.benchmarks.reference import search
from tests.benchmarks.setting import Setting
from tsme.evaluation import RankingMetrics, evaluate, evaluate_similarity, rerank

IMAGES = 10  # of a person
GALLERIES = (2060, 20_000, 100_000)
METRICS_TOLERANCE = 1e-5  # equal similarities are ordered by chance in the reference
DISTANCE_TOLERANCE = 1e-6

Numbers = NDArray[Any]
Sides = tuple[Callable[[], Any], Callable[[], Any], Callable[[], str]]


def people(count: int) -> Numbers:
    """Identities of `count` images."""
    return np.arange(count) // IMAGES


def figures(metrics: RankingMetrics) -> Numbers:
    """In the order of the reference."""
    return np.array([*metrics.cmc, metrics.mAP, metrics.mINP])


def same_metrics(reference: Callable[[], Numbers], mine: Callable[[], RankingMetrics]) -> str:
    """Both sides' figures agree."""
    broadcast("CMC, mAP and mINP", figures(mine()), reference(), METRICS_TOLERANCE)
    return f"CMC, mAP and mINP within {METRICS_TOLERANCE:g}"


def given_similarity(setting: Setting, *, gallery: int, arrays: bool = False) -> Sides:
    """Ranking alone: similarities (q, g) are given, those of matches larger by two deviations.

    With `arrays`, the reference is the better one.
    """
    q, g = setting.of(2060, 60), setting.of(gallery, gallery // 50)
    similarity = np.random.default_rng(0).standard_normal((q, g), dtype=np.float32)
    ids = people(q), people(g)
    for query, person in enumerate(ids[0]):
        similarity[query, person * IMAGES : (person + 1) * IMAGES] += 2
    reference = partial(search.rank, similarity, *ids, arrays=arrays)
    mine = partial(evaluate_similarity, similarity, *ids)
    return reference, mine, partial(same_metrics, reference, mine)


def with_product(setting: Setting) -> Sides:
    """From features: products and ranking."""
    count, width = setting.of(2060, 60), setting.of(3072, 32)
    random = np.random.default_rng(0)
    ids = people(count)
    centres = random.standard_normal((ids[-1] + 1, width), dtype=np.float32)
    sides: list[Numbers] = []
    for _ in range(2):
        features = centres[ids] + 4 * random.standard_normal((count, width), dtype=np.float32)
        sides.append(features / np.linalg.norm(features, axis=1, keepdims=True))
    reference = partial(search.rank_features, sides[0], ids, sides[1], ids)
    mine = partial(evaluate, sides[0], ids, sides[1], ids)
    return reference, mine, partial(same_metrics, reference, mine)


def reranking(setting: Setting, *, numpy_product: bool = False) -> Sides:
    """Re-ranking of features that are whole numbers; with `numpy_product`, against the better reference.

    Their squares and sums are exact in float32 in any order, so that neighbours do not depend on who
    computes them.
    """
    count, width = setting.of(2060, 60), setting.of(3072, 32)
    random = np.random.default_rng(0)
    ids = people(count)
    centres = random.integers(-40, 41, (ids[-1] + 1, width))
    queries, gallery = (
        (centres[ids] + random.integers(-40, 41, (count, width))).astype(np.float32) for _ in range(2)
    )
    mine = partial(rerank, queries, gallery)

    def check() -> str:
        expected = search.rerank(queries, gallery, sort="stable")
        broadcast("final distances", -mine(), expected, DISTANCE_TOLERANCE)
        return f"final distances within {DISTANCE_TOLERANCE:g}"

    reference = partial(search.rerank, queries, gallery, sort="quicksort", numpy_product=numpy_product)
    return reference, mine, check


def timed(sides: Callable[[Setting], Sides], setting: Setting) -> Work:
    """Seconds of both sides."""
    return Work(*sides(setting))


def traced(sides: Callable[[Setting], Sides], setting: Setting) -> Work:
    """Peak memory of both sides beyond their inputs."""
    reference, mine, check = sides(setting)
    return Work(partial(peak_bytes, reference), partial(peak_bytes, mine), check)


def _benchmarks() -> list[Benchmark]:
    works: list[tuple[str, Callable[[Setting], Sides], float]] = [
        *(
            (f"ranking/2060x{gallery}", partial(given_similarity, gallery=gallery), 50)
            for gallery in GALLERIES
        ),
        ("ranking/with-product", with_product, 9),
        ("ranking/re-ranking", reranking, 3.5),
    ]
    better = [
        Benchmark(
            f"ranking/2060x{gallery}-arrays",
            partial(timed, partial(given_similarity, gallery=gallery, arrays=True)),
        )
        for gallery in GALLERIES
    ]
    better.append(
        Benchmark(
            "ranking/re-ranking-numpy-product",
            partial(timed, partial(reranking, numpy_product=True)),
        )
    )
    return better + [
        benchmark
        for name, sides, bound in works
        for benchmark in (
            Benchmark(name, partial(timed, sides), Goal(bound)),
            Benchmark(f"{name}-memory", partial(traced, sides), unit="bytes"),
        )
    ]


BENCHMARKS = _benchmarks()
