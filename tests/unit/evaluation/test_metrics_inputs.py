"""Accepted types of features, identities and cameras, and the errors for bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.unit.evaluation.metrics_cases import draw, evaluate_order, naive
from tsme.errors import UserError
from tsme.evaluation import evaluate
from tsme.evaluation.metrics import evaluate_similarity

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
def test_every_numeric_type_gives_the_same_metrics(convert):
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
    numbers = evaluate_order([0, 1, 2, 3], [1, 0, 2, 0, 1])
    for kind in (list, lambda names: np.array(names, object)):
        got = evaluate_order(
            kind([text[k] for k in (0, 1, 2, 3)]), kind([text[k] for k in (1, 0, 2, 0, 1)])
        )
        assert (got.mAP, got.skipped_queries) == (numbers.mAP, 1)


def test_arguments_are_not_modified():
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
    """Even where the filter would hide them."""
    cameras = {"query_cameras": [3, 3], "gallery_cameras": [2, 3, 1]}
    with pytest.raises(UserError, match="hold NaN or infinity"):
        evaluate_similarity([[1, 2, 3], [value, 2, 3]], [7, 8], [8, 7, 7], protocol=protocol, **cameras)


def test_similarities_of_another_shape_are_refused():
    with pytest.raises(UserError, match=r"query_ids has shape \(1,\); expected \(2,\)"):
        evaluate_similarity(np.ones((2, 1)), [1], [1])
    with pytest.raises(UserError, match="similarities have shape"):
        evaluate_similarity(np.ones(2), [1, 1], [1])
