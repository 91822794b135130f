"""Re-ranking against its definition in plain loops and a case computed by hand."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import torch

from tsme.errors import UserError
from tsme.evaluation import reranking as module
from tsme.evaluation.metrics import evaluate, evaluate_similarity
from tsme.evaluation.reranking import rerank

# Features in the tests are small integers: their squares and sums are exact in float32 in any order, so
# that ties of distances do not depend on the machine.


def distances(query, gallery):
    """Squared distances (n, n) by loops, each row divided by its maximum, in float32."""
    images = [[float(x) for x in row] for row in [*query, *gallery]]
    rows = [[sum((a - b) ** 2 for a, b in zip(i, j, strict=True)) for j in images] for i in images]
    return [[np.float32(d) / np.float32(max(row) or 1) for d in row] for row in rows]


def reciprocal(order, i, k):
    """Those of the k + 1 nearest of i that have i among their own."""
    return [j for j in order[i][: k + 1] if i in order[j][: k + 1]]


def expanded(order, i, k1):
    members = reciprocal(order, i, k1)
    result = set(members)
    for c in members:
        candidates = reciprocal(order, c, round(k1 / 2))
        if len(set(candidates) & set(members)) * 3 > 2 * len(candidates):
            result |= set(candidates)
    return result


def neighbours(distance):
    """Images by distance from each image, in a stable order."""
    return [sorted(range(len(row)), key=lambda j: row[j]) for row in distance]


def naive(query, gallery, k1=20, k2=6, weight=0.3):
    """Final distances (q, g) by the definition of the paper."""
    distance = distances(query, gallery)
    order = neighbours(distance)
    n = len(distance)
    encoding = [[0.0] * n for _ in range(n)]
    for i in range(n):
        members = expanded(order, i, k1)
        total = sum(math.exp(-distance[i][j]) for j in members)
        for j in members:
            encoding[i][j] = math.exp(-distance[i][j]) / total
    if k2 != 1:
        near = [order[i][:k2] for i in range(n)]
        encoding = [
            [sum(encoding[a][c] for a in near[i]) / len(near[i]) for c in range(n)] for i in range(n)
        ]
    final = np.zeros((len(query), len(gallery)))
    for i in range(len(query)):
        for j in range(len(gallery)):
            other = len(query) + j
            s = sum(map(min, encoding[i], encoding[other]))
            jaccard = 1 - s / (2 - s)
            final[i, j] = (1 - weight) * jaccard + weight * distance[i][other]
    return final


def scattered(seed, queries, gallery, width=6, levels=40):
    rng = np.random.default_rng(seed)
    return [rng.integers(-levels, levels + 1, (count, width)) for count in (queries, gallery)]


def clustered(seed, queries, gallery, identities, spread=12):
    """Images scattered around distant centres, one for each identity."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(-60, 61, (identities, 6))
    ids = [rng.integers(0, identities, count) for count in (queries, gallery)]
    sides = [centres[i] + rng.integers(-spread, spread + 1, (len(i), 6)) for i in ids]
    return sides, ids


def check(query, gallery, **options):
    got = rerank(np.asarray(query, np.float32), np.asarray(gallery, np.float32), **options)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, -naive(query, gallery, **options), rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_scattered_images_are_reranked_by_the_definition(seed):
    check(*scattered(seed, 12, 50))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("identities", [1, 3, 8])
def test_clustered_images_are_reranked_by_the_definition(seed, identities):
    check(*clustered(seed, 20, 45, identities)[0])


def test_the_cases_depend_on_the_expansion_and_its_two_thirds_rule():
    """Otherwise the comparisons above would not test them."""
    grown = kept_out = 0
    for seed in range(4):
        order = neighbours(distances(*clustered(seed, 20, 45, 3)[0]))
        for i in range(len(order)):
            members = set(reciprocal(order, i, 20))
            unfiltered = members.union(*(reciprocal(order, c, 10) for c in members))
            grown += expanded(order, i, 20) > members
            kept_out += expanded(order, i, 20) < unfiltered
    assert grown > 20
    assert kept_out > 20


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [0, 1, 2])
def test_equal_distances_are_ordered_by_index(seed, levels):
    """Few points in the plane: most distances are tied, and several images share a point."""
    check(*scattered(seed, 15, 30, width=2, levels=levels), k1=6, k2=3)


def test_more_duplicates_than_neighbours():
    """Images behind k1 + 1 duplicates are not among their own nearest, and may have no neighbours."""
    far = np.eye(6, dtype=int)[:3] * 50
    query, gallery = np.zeros((9, 6), int), np.concatenate([np.zeros((14, 6), int), far])
    order = neighbours(distances(query, gallery))
    assert not reciprocal(order, 20, 5)
    check(query, gallery, k1=5, k2=3)
    check(query, gallery, k1=5, k2=1)  # with its own encoding, not the first duplicate's
    check(query, gallery)


@pytest.mark.parametrize(("queries", "gallery"), [(1, 1), (1, 2), (2, 1), (1, 30), (30, 1), (4, 9)])
def test_few_images(queries, gallery):
    """Including fewer images in all than k1 or k2."""
    check(*scattered(queries + gallery, queries, gallery))
    check(*scattered(queries + gallery, queries, gallery), k1=3, k2=2)


@pytest.mark.parametrize(
    "options",
    [
        {"k1": 1},
        {"k1": 5},  # half of it is rounded to 2
        {"k1": 7, "k2": 1},
        {"k1": 3, "k2": 12},  # k2 beyond k1 + 1
        {"k1": 200, "k2": 200},
        {"weight": 0.0},
        {"weight": 1.0},
        {"weight": 0.55},
    ],
)
def test_every_option_changes_the_result(options):
    query, gallery = clustered(5, 20, 40, 6)[0]
    check(query, gallery, **options)
    assert np.abs(rerank(query, gallery) - rerank(query, gallery, **options)).max() > 1e-3


@pytest.mark.parametrize("block", [1, 150, 700])
def test_the_block_size_does_not_change_the_result(block, monkeypatch):
    """Blocks of one row and of several rows, which end among queries or gallery images."""
    query, gallery = clustered(1, 20, 45, 4)[0]
    whole = rerank(query, gallery)
    monkeypatch.setattr(module, "BLOCK", block)
    np.testing.assert_array_equal(rerank(query, gallery), whole)


def test_a_case_computed_by_hand():
    # On a line: query 0, gallery 1 and 4; k1 = 1, k2 = 1. Squared distances by each row's largest:
    #   query: 0 1/16 1        first: 1/9 0 1        second: 1 9/16 0
    # Nearest two: query {q, 1}, first {1, q}, second {4, 1}; reciprocal: {q, 1}, {q, 1}, {4}. Half of k1
    # is rounded to 0, so that the expansion adds nothing. With a = e^(-1/16), b = e^(-1/9):
    # V: query (1, a, 0) / (1 + a), first (b, 1, 0) / (1 + b), second (0, 0, 1). As b < a < 1,
    # s(query, first) = b / (1 + b) + a / (1 + a); s(query, second) = 0.
    a, b = math.exp(-1 / 16), math.exp(-1 / 9)
    s = b / (1 + b) + a / (1 + a)
    first = 0.7 * (1 - s / (2 - s)) + 0.3 / 16
    got = rerank([[0.0]], [[1.0], [4.0]], k1=1, k2=1)
    assert got.tolist() == [[pytest.approx(-first, abs=1e-6), pytest.approx(-1, abs=1e-6)]]
    assert first == pytest.approx(0.0769, abs=1e-4)


def test_equal_images_have_distance_zero():
    # D is 0, all are neighbours with equal weights: J = 0.
    np.testing.assert_allclose(rerank(np.ones((2, 3)), np.ones((3, 3))), np.zeros((2, 3)), atol=1e-7)


def test_features_that_are_not_integers():
    """Features like those of networks, without ties."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(5, 16))
    query, gallery = (centres[np.arange(n) % 5] + rng.normal(size=(n, 16)) for n in (10, 50))
    check(query, gallery)


def test_re_ranking_improves_on_distances():
    (query, gallery), ids = clustered(7, 40, 120, 8, spread=40)
    before = evaluate_similarity(-np.array(distances(query, gallery))[:40, 40:], *ids)
    after = evaluate_similarity(rerank(query, gallery), *ids)
    assert after.mAP > before.mAP + 0.02
    assert evaluate(query, ids[0], gallery, ids[1]).mAP < after.mAP


def test_tensors_and_narrow_types_are_accepted():
    query, gallery = scattered(2, 5, 30)
    expected = rerank(query, gallery)
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int8):
        sides = [torch.tensor(side, dtype=dtype) for side in (query, gallery)]
        if dtype.is_floating_point:
            sides[0].requires_grad_()
        np.testing.assert_array_equal(rerank(*sides), expected)


def test_no_matrix_of_all_images_is_held():
    rng = np.random.default_rng(0)
    query, gallery = (rng.normal(size=(n, 8)).astype(np.float32) for n in (300, 3700))
    query.flags.writeable = gallery.flags.writeable = False  # features must not be modified
    tracemalloc.start()
    result = rerank(query, gallery)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - result.nbytes < 4000 * 4000 * 4


ONE = np.ones((1, 2))


@pytest.mark.parametrize(
    ("query", "gallery", "options", "message"),
    [
        (ONE, np.ones((1, 3)), {}, "query features are 2-d, gallery 3-d"),
        (ONE * np.nan, ONE, {}, "query features hold NaN"),
        (ONE, np.ones(2), {}, "gallery features have shape"),
        (ONE, np.ones((0, 2)), {}, "gallery features have shape"),
        (ONE, ONE * 1e30, {}, "features are too large"),
        (ONE, ONE * 1e300, {}, "features are too large"),
        (ONE, ONE, {"k1": 0}, "k1=0, k2=6"),
        (ONE, ONE, {"k2": 0}, "k2=0"),
        (ONE, ONE, {"weight": 1.5}, "weight=1.5: expected"),
        (ONE, ONE, {"weight": math.nan}, "weight=nan: expected"),
    ],
)
def test_bad_input_is_a_user_error(query, gallery, options, message):
    with pytest.raises(UserError, match=message):
        rerank(query, gallery, **options)
