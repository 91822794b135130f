"""Cases for ranking metrics, and the metrics computed by plain loops."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest

from tsme.errors import UserError
from tsme.evaluation import evaluate
from tsme.evaluation.metrics import evaluate_similarity


@dataclass
class Case:
    """Features, identities and cameras of queries and gallery."""

    query: list[list[float]]
    query_ids: list[int]
    query_cameras: list[int]
    gallery: list[list[float]]
    gallery_ids: list[int]
    gallery_cameras: list[int]

    def cameras(self, protocol: str):
        cameras = {"query_cameras": self.query_cameras, "gallery_cameras": self.gallery_cameras}
        return {} if protocol == "regdb" else cameras

    def measured(self, protocol: str):
        sides = self.query, self.query_ids, self.gallery, self.gallery_ids
        return evaluate(*sides, protocol=protocol, **self.cameras(protocol))

    def measured_by_similarity(self, protocol: str):
        matrix = [[dot(a, b) for b in self.gallery] for a in self.query]
        ids = self.query_ids, self.gallery_ids
        return evaluate_similarity(matrix, *ids, protocol=protocol, **self.cameras(protocol))


def dot(first, second) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))


def draw(seed: int, queries: int, gallery: int, identities: int, levels: int = 2, width: int = 3) -> Case:
    """A random case with small integer features, so that many similarities are equal."""
    rng = random.Random(seed)

    def side(count: int):
        features = [[rng.randint(-levels, levels) for _ in range(width)] for _ in range(count)]
        ids = [rng.randrange(identities) * 7 - 3 for _ in range(count)]
        return features, ids, [rng.randint(1, 4) for _ in range(count)]

    return Case(*side(queries), *side(gallery))


def skipped(case: Case, protocol: str, q: int, g: int) -> bool:
    if protocol == "sysu":
        return case.query_cameras[q] == 3 and case.gallery_cameras[g] == 2
    if protocol == "llcm":
        same = case.query_ids[q] == case.gallery_ids[g]
        return same and case.query_cameras[q] == case.gallery_cameras[g]
    return False


def ranked_ids(case: Case, protocol: str, q: int) -> list[int]:
    """Identities of the gallery images that the query is compared with, most similar first."""
    kept = [g for g in range(len(case.gallery)) if not skipped(case, protocol, q, g)]
    similarity = {g: dot(case.query[q], case.gallery[g]) for g in kept}
    return [case.gallery_ids[g] for g in sorted(kept, key=lambda g: (-similarity[g], g))]


def naive(case: Case, protocol: str):
    """(cmc, mAP, mINP, valid queries), or None if no query is valid."""
    by_identity = protocol != "regdb"
    length = min(20, len(set(case.gallery_ids)) if by_identity else len(case.gallery))
    hits, precisions, penalties = [0] * length, [], []
    for q, query_id in enumerate(case.query_ids):
        ranked = ranked_ids(case, protocol, q)
        if query_id not in ranked:
            continue
        found, precision, last = 0, 0.0, 0
        for place, identity in enumerate(ranked, start=1):
            if identity == query_id:
                found, last = found + 1, place
                precision += found / place
        precisions.append(precision / found)
        penalties.append(found / last)
        listed = list(dict.fromkeys(ranked)) if by_identity else ranked
        for k in range(length):
            hits[k] += query_id in listed[: k + 1]
    valid = len(precisions)
    if not valid:
        return None
    return [h / valid for h in hits], sum(precisions) / valid, sum(penalties) / valid, valid


def check(case: Case, protocol: str) -> None:
    expected = naive(case, protocol)
    for measure in (case.measured, case.measured_by_similarity):
        if expected is None:
            with pytest.raises(UserError, match="no query has a match"):
                measure(protocol)
            continue
        got = measure(protocol)
        cmc, mean_precision, mean_penalty, valid = expected
        np.testing.assert_allclose(got.cmc, cmc, rtol=0, atol=1e-12)
        assert got.mAP == pytest.approx(mean_precision, abs=1e-12)
        assert got.mINP == pytest.approx(mean_penalty, abs=1e-12)
        assert (got.queries, got.skipped_queries) == (valid, len(case.query) - valid)


def evaluate_order(query_ids, ranked, **cameras):
    """Metrics of a gallery that every query ranks in the order `ranked` (identities)."""
    scores = [[float(len(ranked) - k)] for k in range(len(ranked))]
    ones = [[1.0]] * len(query_ids)
    return evaluate(ones, query_ids, scores, ranked, **cameras)
