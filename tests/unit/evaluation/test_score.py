"""From a search to its figures: every data set's rule, plain and re-ranked, against a naive loop."""

from __future__ import annotations

import numpy as np
import pytest

from tsme.data.types import ImageList, Split
from tsme.evaluation.evaluator import score_search
from tsme.evaluation.metrics import Protocol
from tsme.evaluation.protocols import Search
from tsme.evaluation.reranking import rerank

PEOPLE, DIMENSIONS = 5, 8


def listed(rng: np.random.Generator, modality: str, count: int, cameras: list[int]) -> ImageList:
    paths = tuple(f"{modality}/{k}" for k in range(count))
    people = rng.integers(0, PEOPLE, count)
    return ImageList(modality, paths, people, rng.choice(cameras, count))  # type: ignore[arg-type]


def naive(similarity: np.ndarray, split: Split, search: Search) -> tuple[float, float, float]:
    """Rank-1, mAP and mINP by loops, under the search's rule."""
    asked = split[search.query]
    searched = split["infrared" if search.query == "visible" else "visible"]
    firsts, precisions, penalties = [], [], []
    for row, query in enumerate(search.queries):
        person, camera = asked.identities[query], asked.cameras[query]
        ranked = []
        for column in np.argsort(-similarity[row], kind="stable"):
            image = search.gallery[column]
            there = searched.identities[image], searched.cameras[image]
            hidden = {
                "regdb": False,
                "sysu": camera == 3 and there[1] == 2,
                "llcm": there == (person, camera),
            }[search.rule]
            if not hidden:
                ranked.append(there[0] == person)
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
    asked, searched = features[sides[0]][queries], features[sides[1]][gallery]
    similarity = rerank(asked, searched) if reranked else asked @ searched.T
    found = score_search(features, split, search, reranked=reranked)
    assert (found.rank(1), found.mAP, found.mINP) == pytest.approx(naive(similarity, split, search))
    # The rule matters here: under another one the figures differ.
    other = Search("sysu" if rule == "regdb" else "regdb", query, queries, gallery)  # type: ignore[arg-type]
    assert score_search(features, split, other, reranked=reranked).mAP != found.mAP
