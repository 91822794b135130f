"""Ranking metrics against plain loops and cases computed by hand."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.evaluation.metrics_cases import check, draw, evaluate_order
from tsme.evaluation import evaluate, metrics
from tsme.evaluation.metrics import evaluate_similarity


@pytest.mark.parametrize("protocol", ["regdb", "sysu", "llcm"])
@settings(max_examples=80)
@given(
    seed=st.integers(0, 10**6),
    queries=st.integers(1, 8),
    gallery=st.integers(1, 40),
    identities=st.integers(1, 30),
    levels=st.integers(0, 3),
)
def test_metrics_equal_a_loop_over_queries(protocol, seed, queries, gallery, identities, levels):
    check(draw(seed, queries, gallery, identities, levels), protocol)


@pytest.mark.parametrize("protocol", ["regdb", "sysu", "llcm"])
@pytest.mark.parametrize(("product", "ranked"), [(1, 1), (5 * 4 * 30, 2 * 4 * 30), (2**25, 7 * 4 * 30)])
def test_the_block_size_does_not_change_metrics(protocol, product, ranked, monkeypatch):
    """From blocks of a single query to blocks that do not divide the 101 queries."""
    monkeypatch.setattr(metrics, "PRODUCT_BYTES", product)
    monkeypatch.setattr(metrics, "RANKED_BYTES", ranked)
    check(draw(5, 101, 30, 8), protocol)


def test_the_whole_similarity_matrix_is_never_held():
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(800, 4)), rng.normal(size=(20_000, 4)).astype(np.float16)
    ids = np.arange(800) % 50, np.arange(20_000) % 2_000
    cameras = {"query_cameras": np.full(800, 3), "gallery_cameras": np.arange(20_000) % 2 + 1}
    tracemalloc.start()
    evaluate(query, ids[0], gallery, ids[1], protocol="sysu", **cameras)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6 < 800 * 20_000 * 8


def test_a_case_computed_by_hand():
    # Order: B A C A B. Query A: matches at 2 and 4. AP = (1/2 + 2/4) / 2 = 1/2, INP = 2/4.
    # Query B: at 1 and 5. AP = (1/1 + 2/5) / 2 = 0.7, INP = 2/5. Query C: at 3: AP = INP = 1/3.
    # Query D has no match. mAP = (1/2 + 7/10 + 1/3) / 3 = 46/90, mINP = (1/2 + 2/5 + 1/3) / 3 = 37/90.
    got = evaluate_order([0, 1, 2, 3], [1, 0, 2, 0, 1])
    assert got.mAP == pytest.approx(46 / 90)
    assert got.mINP == pytest.approx(37 / 90)
    assert got.cmc.tolist() == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])
    assert (got.queries, got.skipped_queries) == (3, 1)
    assert [got.rank(k) for k in (1, 2, 5, 20)] == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_a_perfect_and_the_worst_order():
    best, worst = evaluate_order([0], [0, 0, 1, 1, 1]), evaluate_order([0], [1, 1, 1, 0, 0])
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


def test_the_best_image_of_an_identity_counts_in_a_tie_with_the_match():
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
    three = evaluate_order([7], ids, protocol="sysu", query_cameras=[3], gallery_cameras=cameras)
    # Left: 8 8 7 7. Among identities 8, 7: found second. AP = (1/3 + 2/4) / 2 = 5/12, INP = 2/4.
    assert three.cmc.tolist() == [0, 1, 1]
    assert (three.mAP, three.mINP) == (pytest.approx(5 / 12), pytest.approx(1 / 2))
    six = evaluate_order([7], ids, protocol="sysu", query_cameras=[6], gallery_cameras=cameras)
    # All six: matches at 1, 4, 6. AP = (1 + 2/4 + 3/6) / 3 = 2/3, INP = 3/6.
    assert six.cmc.tolist() == [1, 1, 1]
    assert (six.mAP, six.mINP) == (pytest.approx(2 / 3), pytest.approx(1 / 2))


def test_sysu_camera_2_as_query_skips_nothing():
    """The rule is for queries of camera 3 in a gallery of camera 2, not the reverse."""
    for query, gallery in [(2, 3), (2, 2), (3, 3), (3, 1)]:
        cameras = {"query_cameras": [query], "gallery_cameras": [gallery, 1]}
        got = evaluate_order([7], [7, 8], protocol="sysu", **cameras)
        assert (got.rank(1), got.mAP, got.mINP) == (1, 1, 1), (query, gallery)


def test_sysu_cmc_has_an_entry_for_each_identity_before_the_filter():
    # Identities 7, 8, 9 in the gallery; camera 3 leaves 8 7 to the first query: second of two.
    # The second query, of camera 6, sees 9 8 7: third of three.
    cameras = {"query_cameras": [3, 6], "gallery_cameras": [2, 1, 4]}
    got = evaluate_order([7, 7], [9, 8, 7], protocol="sysu", **cameras)
    assert got.cmc.tolist() == [0, 0.5, 1]
    assert got.mAP == got.mINP == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_llcm_skips_only_the_same_identity_in_the_same_camera():
    # Order: 7(cam 3) 8(cam 3) 7(cam 1), query 7 of camera 3. Left: 8 7: AP = INP = 1/2.
    got = evaluate_order([7], [7, 8, 7], protocol="llcm", query_cameras=[3], gallery_cameras=[3, 3, 1])
    assert got.cmc.tolist() == [0, 1]
    assert (got.mAP, got.mINP) == (pytest.approx(1 / 2), pytest.approx(1 / 2))


def test_llcm_counts_each_wrong_identity_once():
    # Order: 8 8 9 7(cam 3) 8 7(cam 1) 7(cam 2), query 7 of camera 3. Left: 8 8 9 8 7 7: third of three
    # identities. AP = (1/5 + 2/6) / 2 = 4/15, INP = 2/6.
    cameras = {"query_cameras": [3], "gallery_cameras": [1, 3, 2, 3, 3, 1, 2]}
    got = evaluate_order([7], [8, 8, 9, 7, 8, 7, 7], protocol="llcm", **cameras)
    assert got.cmc.tolist() == [0, 0, 1]
    assert (got.mAP, got.mINP) == (pytest.approx(4 / 15), pytest.approx(1 / 3))


@pytest.mark.parametrize("protocol", ["regdb", "sysu", "llcm"])
def test_one_query_and_one_image(protocol):
    cameras = {} if protocol == "regdb" else {"query_cameras": [3], "gallery_cameras": [1]}
    got = evaluate_order([7], [7], protocol=protocol, **cameras)
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
    got = evaluate_order([2], [0] * 15 + [1] * 15 + [2], protocol="sysu", **cameras)
    assert got.cmc.tolist() == [0, 0, 1]
    assert evaluate_order([2], [0] * 15 + [1] * 15 + [2]).cmc.tolist() == [0] * 20


def test_a_query_without_matches_after_the_filter_is_skipped():
    cameras = {"query_cameras": [3, 3], "gallery_cameras": [2, 1, 1]}
    got = evaluate_order([7, 8], [7, 8, 9], protocol="sysu", **cameras)
    assert (got.queries, got.skipped_queries) == (1, 1)
    assert got.rank(1) == 1


def test_a_large_gallery_has_twenty_cmc_entries():
    """Rank k beyond the entries is the last entry."""
    got = evaluate_order([0], [1] * 19 + [0] + [2] * 30)
    assert got.cmc.tolist() == [0] * 19 + [1]
    assert got.rank(20) == got.rank(50) == 1
