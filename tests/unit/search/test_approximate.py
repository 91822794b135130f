"""The approximate index: recall reported at build time, exact scores, damaged and missing files."""

from __future__ import annotations

import numpy as np
import pytest

from tsme.errors import UserError
from tsme.search import exact
from tsme.search.approximate import FILE, ApproximateSearch, build_approximate
from tsme.search.index import GalleryIndex

pytest.importorskip("faiss")


@pytest.fixture
def clustered() -> np.ndarray:
    """float16 (2000, 64) of length 1: ten vectors around each of 200 centres."""
    random = np.random.default_rng(0)
    centres = np.repeat(random.standard_normal((200, 64)), 10, axis=0)
    vectors = centres + 0.5 * random.standard_normal(centres.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def test_it_finds_nearly_what_the_exact_search_finds(make_index, clustered):
    index = build_approximate(make_index(clustered, 300))
    record = index.header.approximate
    assert record.kind == "IVF50,RaBitQ" and 0.9 < record.recall <= 1
    queries = clustered[::100].astype(np.float32)
    search = ApproximateSearch(GalleryIndex.open(index.folder)).search
    scores, rows = search(queries, 10)
    expected, exact_rows = exact.search(index.blocks(), queries, 10)
    np.testing.assert_array_equal(rows[:, 0], np.arange(0, 2000, 100))
    shares = [np.isin(e, r).mean() for e, r in zip(exact_rows, rows, strict=True)]
    assert np.mean(shares) > 0.9
    same = rows == exact_rows
    np.testing.assert_allclose(scores[same], expected[same], atol=1e-6)


def test_an_index_that_is_there_stays(make_index, clustered):
    index = build_approximate(make_index(clustered, 300))
    before = (index.folder / FILE).stat().st_mtime_ns
    assert build_approximate(index) is index
    assert (index.folder / FILE).stat().st_mtime_ns == before


def test_what_cannot_be_searched_approximately_is_a_user_error(make_index, clustered):
    index = make_index(clustered, 300)
    with pytest.raises(UserError, match="has no approximate index"):
        ApproximateSearch(index)
    built = build_approximate(index)
    (built.folder / FILE).write_bytes(b"no index")
    with pytest.raises(UserError, match=r"approximate\.faiss: damaged"):
        ApproximateSearch(built)


def test_a_small_gallery_needs_none(make_index, unit_vectors):
    with pytest.raises(UserError, match="50 vectors are too few"):
        build_approximate(make_index(unit_vectors(50, 8), 20))
