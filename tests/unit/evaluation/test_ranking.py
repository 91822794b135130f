"""Ranking metrics against loops in plain Python and cases worked out by hand."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tsme.errors import UserError
from tsme.evaluation import evaluate, ranking
from tsme.evaluation.ranking import evaluate_similarity


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
    similarity = {g: dot(case.query[q], case.gallery[g]) for g in kept}
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
@pytest.mark.parametrize(("product", "ranked"), [(1, 1), (5 * 4 * 30, 2 * 4 * 30), (2**25, 7 * 4 * 30)])
def test_the_size_of_blocks_changes_nothing(protocol, product, ranked, monkeypatch):
    """Down to a query at a time, and blocks that do not divide the 101 queries."""
    monkeypatch.setattr(ranking, "PRODUCT_BYTES", product)
    monkeypatch.setattr(ranking, "RANKED_BYTES", ranked)
    check(draw(5, 101, 30, 8), protocol)


def test_the_whole_matrix_is_never_held():
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(800, 4)), rng.normal(size=(20_000, 4)).astype(np.float16)
    ids = np.arange(800) % 50, np.arange(20_000) % 2_000
    cameras = {"query_cameras": np.full(800, 3), "gallery_cameras": np.arange(20_000) % 2 + 1}
    tracemalloc.start()
    evaluate(query, ids[0], gallery, ids[1], protocol="sysu", **cameras)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6 < 800 * 20_000 * 8


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


def test_equal_similarities_keep_gallery_order_among_identities():
    # All equal, order 4 4 6 5 5, query 5: two identities are ahead. AP = (1/4 + 2/5) / 2, INP = 2/5.
    cameras = {"query_cameras": [6], "gallery_cameras": [1, 2, 1, 1, 4]}
    for protocol in ("sysu", "llcm"):
        got = evaluate_similarity(np.zeros((1, 5)), [5], [4, 4, 6, 5, 5], protocol=protocol, **cameras)
        assert got.cmc.tolist() == [0, 0, 1]
        assert (got.mAP, got.mINP) == (pytest.approx(13 / 40), pytest.approx(2 / 5))


def test_the_best_of_an_identity_counts_where_it_is_tied_with_the_match():
    # Query 5. Similarities: 4: .5, 5: .5, 4: .9, 6: .5. Order: 4 4 5 6: one identity is ahead of 5.
    # Without the third image: order 4 5 6, again one; with 4 after 5: none.
    cameras = {"query_cameras": [1], "protocol": "llcm"}
    for similarity, ids, first in [
        ([0.5, 0.5, 0.9, 0.5], [4, 5, 4, 6], 2),
        ([0.5, 0.5, 0.1, 0.5], [4, 5, 4, 6], 2),
        ([0.5, 0.5, 0.1, 0.5], [5, 4, 4, 6], 1),
    ]:
        got = evaluate_similarity([similarity], [5], ids, gallery_cameras=[2] * 4, **cameras)
        assert got.cmc.tolist() == [k >= first for k in (1, 2, 3)]


def test_minus_zero_equals_zero():
    # Order 1 5, since 0 and -0 are equal: the match is second.
    got = evaluate_similarity([[-0.0, 0.0]], [5], [1, 5])
    assert got.cmc.tolist() == [0, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_very_large_and_very_small_similarities_are_ranked(dtype):
    # Order 5 1 5 1: AP = (1 + 2/3) / 2 = 5/6, INP = 2/3.
    largest = np.finfo(dtype).max
    row = np.array([[largest / 2, -largest, largest, np.finfo(dtype).tiny]], dtype)
    got = evaluate_similarity(row, [5], [1, 1, 5, 5])
    assert (got.mAP, got.mINP) == (pytest.approx(5 / 6), pytest.approx(2 / 3))


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


def test_sysu_camera_2_as_query_skips_nothing():
    """The rule is for queries of camera 3 in a gallery of camera 2, not the reverse."""
    for query, gallery in [(2, 3), (2, 2), (3, 3), (3, 1)]:
        cameras = {"query_cameras": [query], "gallery_cameras": [gallery, 1]}
        got = line([7], [7, 8], protocol="sysu", **cameras)
        assert (got.rank(1), got.mAP, got.mINP) == (1, 1, 1), (query, gallery)


def test_sysu_cmc_is_as_long_as_the_gallery_has_identities_before_the_filter():
    # Identities 7, 8, 9 in the gallery; camera 3 leaves 8 7 to the first query: second of two.
    # The second query, of camera 6, sees 9 8 7: third of three.
    cameras = {"query_cameras": [3, 6], "gallery_cameras": [2, 1, 4]}
    got = line([7, 7], [9, 8, 7], protocol="sysu", **cameras)
    assert got.cmc.tolist() == [0, 0.5, 1]
    assert got.mAP == got.mINP == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_llcm_skips_the_same_person_in_the_same_camera_only():
    # Order: 7(cam 3) 8(cam 3) 7(cam 1), query 7 of camera 3. Left: 8 7: AP = INP = 1/2.
    got = line([7], [7, 8, 7], protocol="llcm", query_cameras=[3], gallery_cameras=[3, 3, 1])
    assert got.cmc.tolist() == [0, 1]
    assert (got.mAP, got.mINP) == (pytest.approx(1 / 2), pytest.approx(1 / 2))


def test_llcm_counts_each_wrong_identity_once():
    # Order: 8 8 9 7(cam 3) 8 7(cam 1) 7(cam 2), query 7 of camera 3. Left: 8 8 9 8 7 7: third of three
    # identities. AP = (1/5 + 2/6) / 2 = 4/15, INP = 2/6.
    cameras = {"query_cameras": [3], "gallery_cameras": [1, 3, 2, 3, 3, 1, 2]}
    got = line([7], [8, 8, 9, 7, 8, 7, 7], protocol="llcm", **cameras)
    assert got.cmc.tolist() == [0, 0, 1]
    assert (got.mAP, got.mINP) == (pytest.approx(4 / 15), pytest.approx(1 / 3))


@pytest.mark.parametrize("protocol", ["regdb", "sysu", "llcm"])
def test_one_query_and_one_image(protocol):
    cameras = {} if protocol == "regdb" else {"query_cameras": [3], "gallery_cameras": [1]}
    got = line([7], [7], protocol=protocol, **cameras)
    assert got.cmc.tolist() == [1]
    assert (got.rank(1), got.rank(20), got.mAP, got.mINP) == (1, 1, 1, 1)


@pytest.mark.parametrize(("protocol", "entries"), [("regdb", 20), ("sysu", 1), ("llcm", 1)])
def test_one_identity_is_always_found(protocol, entries):
    cameras = {"query_cameras": [6] * 3, "gallery_cameras": [1] * 30}
    similarity = np.random.default_rng(0).normal(size=(3, 30))
    got = evaluate_similarity(similarity, [7] * 3, [7] * 30, protocol=protocol, **cameras)
    assert got.cmc.tolist() == [1] * entries
    assert (got.mAP, got.mINP) == (1, 1)


def test_a_large_gallery_of_few_identities_has_a_short_cmc_over_identities():
    cameras = {"query_cameras": [6], "gallery_cameras": [1] * 31}
    got = line([2], [0] * 15 + [1] * 15 + [2], protocol="sysu", **cameras)
    assert got.cmc.tolist() == [0, 0, 1]
    assert line([2], [0] * 15 + [1] * 15 + [2]).cmc.tolist() == [0] * 20


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


SMALL = draw(11, 6, 12, 3, levels=3, width=4)


@pytest.mark.parametrize(
    "convert",
    [
        lambda values: np.array(values, np.float16),
        lambda values: np.array(values, np.int8),
        lambda values: np.array(values, ">f4"),
        lambda values: np.asfortranarray(np.array(values, np.float64)),
        lambda values: torch.tensor(values, dtype=torch.float32, requires_grad=True),
        lambda values: torch.tensor(values, dtype=torch.bfloat16),
        lambda values: torch.tensor(values, dtype=torch.int64),
        lambda values: torch.tensor(values, dtype=torch.float64).T.contiguous().T,
    ],
)
def test_every_type_of_number_is_ranked_alike(convert):
    expected = naive(SMALL, "regdb")
    ids = torch.tensor(SMALL.query_ids), np.array(SMALL.gallery_ids, np.int16)
    query, gallery = convert(SMALL.query), convert(SMALL.gallery)
    product = convert(np.array(SMALL.query) @ np.array(SMALL.gallery).T)
    for got in (evaluate(query, ids[0], gallery, ids[1]), evaluate_similarity(product, *ids)):
        assert (got.mAP, got.mINP) == pytest.approx(expected[1:3], abs=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tensors_on_a_gpu_are_ranked():
    query, gallery = (torch.tensor(v, dtype=torch.half).cuda() for v in (SMALL.query, SMALL.gallery))
    ids = (torch.tensor(v).cuda() for v in (SMALL.query_ids, SMALL.gallery_ids))
    got = evaluate(query, next(ids), gallery, next(ids))
    assert got.mAP == pytest.approx(naive(SMALL, "regdb")[1], abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8])
def test_sums_of_narrow_types_keep_their_digits(dtype):
    """4096 + 1 is 4096 in half precision, and 64 products of 64 overflow eight bits."""
    query = torch.full((1, 65), 8.0).to(dtype)
    match, other = torch.full((1, 65), 8.0), torch.full((1, 65), 8.0)
    match[0, -1], other[0, -1] = 1.0, 0.0
    got = evaluate(query, [5], torch.cat([other, match]).to(dtype), [1, 5])
    assert got.rank(1) == 1


def test_float64_features_are_compared_in_float64():
    got = evaluate([[1.0]], [5], np.array([[1.0], [1.0 + 1e-12]]), [1, 5])
    assert got.rank(1) == 1


def test_identities_may_be_text():
    text = {1: "ann", 0: "bob", 2: "cy", 3: "di"}
    numbers = line([0, 1, 2, 3], [1, 0, 2, 0, 1])
    for kind in (list, lambda names: np.array(names, object)):
        got = line(kind([text[k] for k in (0, 1, 2, 3)]), kind([text[k] for k in (1, 0, 2, 0, 1)]))
        assert (got.mAP, got.skipped_queries) == (numbers.mAP, 1)


def test_what_is_passed_in_is_left_as_it_was():
    for protocol in ("sysu", "llcm"):
        matrix = np.ones((2, 3), np.float32)
        cameras = {"query_cameras": np.array([3, 3]), "gallery_cameras": np.array([2, 3, 1])}
        evaluate_similarity(matrix, [7, 8], [8, 7, 7], protocol=protocol, **cameras)
        assert (matrix == 1).all()
        assert cameras["query_cameras"].tolist() == [3, 3]


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
        (
            {"protocol": "sysu", "query_cameras": [3], "gallery_cameras": ["2"]},
            "gallery_cameras are of type <U1; expected numbers$",
        ),
        ({"query_features": np.ones((1, 0))}, "query features have shape"),
        ({"query_features": [[1j]]}, "query features are of type complex128; expected numbers"),
        ({"query_features": torch.tensor([[NAN]], dtype=torch.bfloat16)}, "query features hold NaN"),
        ({"query_ids": ["1"]}, "one is text, the other numbers"),
        ({"query_ids": [NAN], "gallery_ids": [NAN]}, "query_ids hold NaN"),
        ({"query_ids": [None]}, "query_ids are of type object; expected numbers or text"),
        (
            {"query_features": np.float32([[1e30]]), "gallery_features": np.float32([[1e30]])},
            "products of large features.* hold NaN or infinity",
        ),
    ],
)
def test_bad_arrays_are_user_errors(changes, message):
    assert evaluate(**ONE).rank(1) == 1
    with pytest.raises(UserError, match=message):
        evaluate(**(ONE | changes))


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("protocol", ["regdb", "sysu", "llcm"])
def test_similarities_that_are_not_finite_are_refused(value, protocol):
    """Also where the filter would hide them."""
    cameras = {"query_cameras": [3, 3], "gallery_cameras": [2, 3, 1]}
    with pytest.raises(UserError, match="hold NaN or infinity"):
        evaluate_similarity([[1, 2, 3], [value, 2, 3]], [7, 8], [8, 7, 7], protocol=protocol, **cameras)


def test_similarities_of_another_shape_are_refused():
    with pytest.raises(UserError, match=r"query_ids has shape \(1,\); expected \(2,\)"):
        evaluate_similarity(np.ones((2, 1)), [1], [1])
    with pytest.raises(UserError, match="similarities have shape"):
        evaluate_similarity(np.ones(2), [1, 1], [1])
