"""Ranking metrics against loops in plain Python and cases worked out by hand."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsme.errors import UserError
from tsme.evaluation import evaluate


@dataclass
class Case:
    """Features, identities and cameras of queries and gallery."""

    query: list[list[float]]
    query_ids: list[int]
    query_cameras: list[int]
    gallery: list[list[float]]
    gallery_ids: list[int]
    gallery_cameras: list[int]

    def measured(self, protocol: str):
        cameras = {"query_cameras": self.query_cameras, "gallery_cameras": self.gallery_cameras}
        return evaluate(
            self.query,
            self.query_ids,
            self.gallery,
            self.gallery_ids,
            protocol=protocol,
            **({} if protocol == "regdb" else cameras),
        )


def draw(seed: int, queries: int, gallery: int, people: int, levels: int = 2, width: int = 3) -> Case:
    """Small whole numbers as features, so that many similarities are equal."""
    rng = random.Random(seed)

    def side(count: int):
        features = [[rng.randint(-levels, levels) for _ in range(width)] for _ in range(count)]
        ids = [rng.randrange(people) * 7 - 3 for _ in range(count)]
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
    """Identities of the gallery images this query is compared with, most similar first."""
    kept = [g for g in range(len(case.gallery)) if not skipped(case, protocol, q, g)]
    similarity = {
        g: sum(a * b for a, b in zip(case.query[q], case.gallery[g], strict=True)) for g in kept
    }
    return [case.gallery_ids[g] for g in sorted(kept, key=lambda g: (-similarity[g], g))]


def naive(case: Case, protocol: str):
    """(cmc, mAP, mINP, valid queries), or None if no query is valid."""
    by_identity = protocol != "regdb"
    length = min(20, len(set(case.gallery_ids)) if by_identity else len(case.gallery))
    hits, precisions, penalties = [0] * length, [], []
    for q, person in enumerate(case.query_ids):
        ranked = ranked_ids(case, protocol, q)
        if person not in ranked:
            continue
        found, precision, last = 0, 0.0, 0
        for place, identity in enumerate(ranked, start=1):
            if identity == person:
                found, last = found + 1, place
                precision += found / place
        precisions.append(precision / found)
        penalties.append(found / last)
        listed = list(dict.fromkeys(ranked)) if by_identity else ranked
        for k in range(length):
            hits[k] += person in listed[: k + 1]
    valid = len(precisions)
    if not valid:
        return None
    return [h / valid for h in hits], sum(precisions) / valid, sum(penalties) / valid, valid


def check(case: Case, protocol: str) -> None:
    expected = naive(case, protocol)
    if expected is None:
        with pytest.raises(UserError, match="no query has a match"):
            case.measured(protocol)
        return
    got = case.measured(protocol)
    cmc, mean_precision, mean_penalty, valid = expected
    np.testing.assert_allclose(got.cmc, cmc, rtol=0, atol=1e-12)
    assert got.mAP == pytest.approx(mean_precision, abs=1e-12)
    assert got.mINP == pytest.approx(mean_penalty, abs=1e-12)
    assert (got.queries, got.skipped_queries) == (valid, len(case.query) - valid)


@pytest.mark.parametrize("protocol", ["regdb", "sysu", "llcm"])
@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    queries=st.integers(1, 8),
    gallery=st.integers(1, 40),
    people=st.integers(1, 30),
    levels=st.integers(0, 3),
)
def test_metrics_equal_a_loop_over_queries(protocol, seed, queries, gallery, people, levels):
    check(draw(seed, queries, gallery, people, levels), protocol)


@pytest.mark.parametrize("protocol", ["regdb", "sysu", "llcm"])
def test_many_queries_are_measured_like_few(protocol):
    check(draw(5, 300, 30, 8), protocol)


def line(query_ids, ranked, **cameras):
    """One-dimensional features that put `ranked` (gallery identities) in this order for every query."""
    scores = [[float(len(ranked) - k)] for k in range(len(ranked))]
    ones = [[1.0]] * len(query_ids)
    return evaluate(ones, query_ids, scores, ranked, **cameras)


def test_a_case_worked_out_by_hand():
    # Order: B A C A B. Query A: matches at 2 and 4. AP = (1/2 + 2/4) / 2 = 1/2, INP = 2/4.
    # Query B: at 1 and 5. AP = (1/1 + 2/5) / 2 = 0.7, INP = 2/5. Query C: at 3: AP = INP = 1/3.
    # Query D has no match. mAP = (1/2 + 7/10 + 1/3) / 3 = 46/90, mINP = (1/2 + 2/5 + 1/3) / 3 = 37/90.
    got = line([0, 1, 2, 3], [1, 0, 2, 0, 1])
    assert got.mAP == pytest.approx(46 / 90)
    assert got.mINP == pytest.approx(37 / 90)
    assert got.cmc.tolist() == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])
    assert (got.queries, got.skipped_queries) == (3, 1)
    assert [got.rank(k) for k in (1, 2, 5, 20)] == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_a_perfect_and_the_worst_order():
    best, worst = line([0], [0, 0, 1, 1, 1]), line([0], [1, 1, 1, 0, 0])
    assert (best.rank(1), best.mAP, best.mINP) == (1, 1, 1)
    # Matches at 4 and 5: AP = (1/4 + 2/5) / 2 = 13/40, INP = 2/5.
    assert (worst.rank(1), worst.rank(3), worst.rank(4)) == (0, 0, 1)
    assert (worst.mAP, worst.mINP) == (pytest.approx(13 / 40), pytest.approx(2 / 5))


def test_equal_similarities_keep_gallery_order():
    # All equal: the query's match is the third of the gallery.
    got = evaluate([[0.0, 0.0]], [5], np.ones((4, 2)), [1, 2, 5, 5])
    assert got.cmc.tolist() == [0, 0, 1, 1]
    assert got.mAP == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_sysu_camera_3_skips_camera_2_and_counts_identities():
    # Order: 7(cam 2) 8(cam 1) 8(cam 4) 7(cam 5) 9(cam 2) 7(cam 1), query 7.
    cameras = [2, 1, 4, 5, 2, 1]
    ids = [7, 8, 8, 7, 9, 7]
    three = line([7], ids, protocol="sysu", query_cameras=[3], gallery_cameras=cameras)
    # Left: 8 8 7 7. Among identities 8, 7: found second. AP = (1/3 + 2/4) / 2 = 5/12, INP = 2/4.
    assert three.cmc.tolist() == [0, 1, 1]
    assert (three.mAP, three.mINP) == (pytest.approx(5 / 12), pytest.approx(1 / 2))
    six = line([7], ids, protocol="sysu", query_cameras=[6], gallery_cameras=cameras)
    # All six: matches at 1, 4, 6. AP = (1 + 2/4 + 3/6) / 3 = 2/3, INP = 3/6.
    assert six.cmc.tolist() == [1, 1, 1]
    assert (six.mAP, six.mINP) == (pytest.approx(2 / 3), pytest.approx(1 / 2))


def test_llcm_skips_the_same_person_in_the_same_camera_only():
    # Order: 7(cam 3) 8(cam 3) 7(cam 1), query 7 of camera 3. Left: 8 7: AP = INP = 1/2.
    got = line([7], [7, 8, 7], protocol="llcm", query_cameras=[3], gallery_cameras=[3, 3, 1])
    assert got.cmc.tolist() == [0, 1]
    assert (got.mAP, got.mINP) == (pytest.approx(1 / 2), pytest.approx(1 / 2))


def test_a_query_whose_matches_are_all_skipped_is_in_no_mean():
    cameras = {"query_cameras": [3, 3], "gallery_cameras": [2, 1, 1]}
    got = line([7, 8], [7, 8, 9], protocol="sysu", **cameras)
    assert (got.queries, got.skipped_queries) == (1, 1)
    assert got.rank(1) == 1


def test_a_large_gallery_has_twenty_entries_of_cmc():
    """Rank k beyond them is the last."""
    got = line([0], [1] * 19 + [0] + [2] * 30)
    assert got.cmc.tolist() == [0] * 19 + [1]
    assert got.rank(20) == got.rank(50) == 1


ONE = {"query_features": [[1.0]], "query_ids": [1], "gallery_features": [[1.0]], "gallery_ids": [1]}
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query_ids": [2]}, "no query has a match"),
        ({"query_features": [[NAN]]}, "query features hold NaN"),
        ({"gallery_features": [[-INF]]}, "gallery features hold NaN or inf"),
        ({"query_features": [[1.0, 2.0]]}, "query features are 2-d, gallery 1-d"),
        ({"query_features": [1.0]}, "query features have shape"),
        ({"gallery_features": np.ones((0, 1)), "gallery_ids": []}, "gallery features have shape"),
        ({"query_ids": [1, 1]}, r"query_ids has shape \(2,\)"),
        ({"gallery_ids": [[1]]}, r"gallery_ids has shape \(1, 1\)"),
        ({"protocol": "market"}, "market: unknown.*regdb, sysu, llcm"),
        ({"protocol": "sysu"}, "needs query_cameras"),
        ({"protocol": "llcm", "query_cameras": [1]}, "needs gallery_cameras"),
        (
            {"protocol": "sysu", "query_cameras": [1, 2], "gallery_cameras": [1]},
            "query_cameras has shape",
        ),
    ],
)
def test_bad_arrays_are_user_errors(changes, message):
    assert evaluate(**ONE).rank(1) == 1
    with pytest.raises(UserError, match=message):
        evaluate(**(ONE | changes))
