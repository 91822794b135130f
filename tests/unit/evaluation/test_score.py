"""Scores of a search against a naive loop: every data set's rule, plain and re-ranked."""

from __future__ import annotations

import numpy as np
import pytest

from tsme.data.types import ImageList, Split
from tsme.evaluation.evaluator import score_search
from tsme.evaluation.metrics import Protocol
from tsme.evaluation.protocols import Search
from tsme.evaluation.reranking import rerank

IDENTITIES, DIMENSIONS = 5, 8


def listed(rng: np.random.Generator, modality: str, count: int, cameras: list[int]) -> ImageList:
    paths = tuple(f"{modality}/{k}" for k in range(count))
    identities = rng.integers(0, IDENTITIES, count)
    return ImageList(modality, paths, identities, rng.choice(cameras, count))  # type: ignore[arg-type]


def naive(similarity: np.ndarray, split: Split, search: Search) -> tuple[float, float, float]:
    """Rank-1, mAP and mINP by loops, under the search's rule."""
    query_images = split[search.query]
    gallery_images = split["infrared" if search.query == "visible" else "visible"]
    firsts, precisions, penalties = [], [], []
    for row, query in enumerate(search.queries):
        identity, camera = query_images.identities[query], query_images.cameras[query]
        ranked = []
        for column in np.argsort(-similarity[row], kind="stable"):
            image = search.gallery[column]
            other = gallery_images.identities[image], gallery_images.cameras[image]
            hidden = {
                "regdb": False,
                "sysu": camera == 3 and other[1] == 2,
                "llcm": other == (identity, camera),
            }[search.rule]
            if not hidden:
                ranked.append(other[0] == identity)
        places = [place for place, match in enumerate(ranked, start=1) if match]
        if places:
            firsts.append(ranked[0])
            precisions.append(np.mean([k / place for k, place in enumerate(places, start=1)]))
            penalties.append(len(places) / places[-1])
    return float(np.mean(firsts)), float(np.mean(precisions)), float(np.mean(penalties))


@pytest.mark.parametrize("reranked", [False, True])
@pytest.mark.parametrize("rule", ["regdb", "sysu", "llcm"])
@pytest.mark.parametrize("query", ["visible", "infrared"])
def test_a_search_is_scored_by_its_rule(rule: Protocol, query: str, reranked: bool) -> None:
    rng = np.random.default_rng(4)
    split = Split(listed(rng, "visible", 40, [1, 2, 3]), listed(rng, "infrared", 30, [1, 2, 3]))
    features = {
        m: rng.normal(size=(len(split[m]), DIMENSIONS)).astype(np.float32)
        for m in ("visible", "infrared")
    }
    sides = ("visible", "infrared") if query == "visible" else ("infrared", "visible")
    queries = rng.permutation(len(split[sides[0]]))[:20]
    gallery = np.sort(rng.permutation(len(split[sides[1]]))[:25])
    search = Search(rule, query, queries, gallery)  # type: ignore[arg-type]
    query_features, gallery_features = features[sides[0]][queries], features[sides[1]][gallery]
    similarity = (
        rerank(query_features, gallery_features) if reranked else query_features @ gallery_features.T
    )
    metrics = score_search(features, split, search, reranked=reranked)
    assert (metrics.rank(1), metrics.mAP, metrics.mINP) == pytest.approx(naive(similarity, split, search))
    # Another rule gives other figures.
    other = Search("sysu" if rule == "regdb" else "regdb", query, queries, gallery)  # type: ignore[arg-type]
    assert score_search(features, split, other, reranked=reranked).mAP != metrics.mAP
