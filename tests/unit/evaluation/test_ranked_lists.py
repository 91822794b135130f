"""Ranked lists and confused pairs: against lists sorted by hand, and against the evaluation's figures."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.run_folder import draw_embeddings
from tsme.data.types import ImageList, Split, Trial
from tsme.evaluation.evaluator import score_search
from tsme.evaluation.protocols import Search, full_searches
from tsme.evaluation.ranked_lists import inspect_search


def images(modality, identities, cameras=None) -> ImageList:
    numbers = np.array(identities, dtype=np.int64)
    paths = tuple(f"{modality}/{row}.png" for row in range(len(numbers)))
    where = np.ones_like(numbers) if cameras is None else np.array(cameras, dtype=np.int64)
    return ImageList(modality, paths, numbers, where)


def at_angles(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


SPLIT = Split(images("visible", [1, 2]), images("infrared", [2, 1, 1, 2]))
EMBEDDINGS = {"visible": at_angles(0, 90), "infrared": at_angles(10, 20, 40, 80)}


def test_a_list_worked_out_by_hand():
    """Query 0 (identity 1) sees 2, 1, 1, 2 in this order; query 1 (identity 2) sees 2, 1, 1, 2."""
    search = Search("regdb", "visible", np.arange(2), np.arange(4))
    inspected = inspect_search(EMBEDDINGS, SPLIT, search)
    best, worst = inspected.lists[0], inspected.lists[-1]
    assert best.query.identity == 2 and best.first_match == 1
    assert best.average_precision == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert [frame.path for frame in best.frames] == [f"infrared/{row}.png" for row in (3, 2, 1, 0)]
    assert [frame.correct for frame in best.frames] == [True, False, False, True]
    assert [frame.similarity for frame in best.frames] == pytest.approx(
        np.cos(np.deg2rad([10, 50, 70, 80])), abs=1e-6
    )
    last = next(ranked for ranked in inspected.lists if ranked.kind == "worst")
    assert last.query.identity == 1 and worst.kind == "worst"
    assert last.average_precision == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_confused_identities_are_counted_at_rank_one():
    search = Search("regdb", "visible", np.arange(2), np.arange(4))
    (pair,) = inspect_search(EMBEDDINGS, SPLIT, search).confused
    assert pair.identities == (1, 2) and pair.queries == 1
    assert pair.query.path == "visible/0.png" and pair.frame.path == "infrared/0.png"
    assert not pair.frame.correct


def test_images_that_the_protocol_leaves_out_are_not_listed():
    """On SYSU-MM01 a query from camera 3 is not compared with camera 2."""
    split = Split(images("visible", [1, 1, 2], [2, 1, 1]), images("infrared", [1], [3]))
    embeddings = {"visible": at_angles(0, 30, 60), "infrared": at_angles(0)}
    search = Search("sysu", "infrared", np.arange(1), np.arange(3))
    (ranked, *_) = inspect_search(embeddings, split, search).lists
    assert [frame.path for frame in ranked.frames] == ["visible/1.png", "visible/2.png"]
    llcm = Split(images("visible", [1, 1, 2], [7, 1, 7]), images("infrared", [1], [7]))
    (ranked, *_) = inspect_search(
        embeddings, llcm, Search("llcm", "infrared", np.arange(1), np.arange(3))
    ).lists
    assert [frame.path for frame in ranked.frames] == ["visible/1.png", "visible/2.png"]


@pytest.mark.parametrize("dataset", ["regdb", "llcm"])
def test_average_precision_is_that_of_the_evaluation(dataset):
    """The lists of all queries, seen one at a time, average to the evaluation's mAP."""
    identities, cameras = np.repeat(np.arange(5), 6), np.tile([1, 2, 3], 10)
    test = Split(images("visible", identities, cameras), images("infrared", identities, cameras))
    embeddings = draw_embeddings(Trial(1, test, test), noise=2.0, seed=5)
    for search in full_searches(dataset, test):
        each = [
            inspect_search(
                embeddings, test, Search(search.rule, search.query, np.array([row]), search.gallery)
            ).lists[0].average_precision
            for row in search.queries
        ]  # fmt: skip
        assert np.mean(each) == pytest.approx(score_search(embeddings, test, search).mAP, abs=1e-9)


def test_kinds_are_in_order_and_of_different_identities():
    identities = np.repeat(np.arange(9), 4)
    test = Split(images("visible", identities), images("infrared", identities))
    embeddings = draw_embeddings(Trial(1, test, test), noise=2.5, seed=1)
    lists = inspect_search(embeddings, test, full_searches("regdb", test)[0]).lists
    assert [ranked.kind for ranked in lists] == ["best"] * 2 + ["median"] * 2 + ["worst"] * 2
    for one, two in zip(lists[::2], lists[1::2], strict=True):
        assert one.query.identity != two.query.identity
    best, median, worst = (lists[index].average_precision for index in (0, 2, 4))
    assert best >= median >= worst
    assert lists[0].average_precision >= lists[1].average_precision
    assert lists[4].average_precision <= lists[5].average_precision
