"""Ranking metrics of visible-infrared re-identification: CMC, mAP and mINP under each data set's rules.

For one query, order the gallery images it is compared with by decreasing similarity, ties by their
position in the gallery. Its n matches (images of its own identity) have the ranks r_1 < ... < r_n,
counted from 1:

    CMC(k) = 1 if the first match is among the first k entries, else 0    (Rank-k is its mean)
    AP     = (1/r_1 + 2/r_2 + ... + n/r_n) / n                            (mAP is its mean)
    INP    = n / r_n                                                      (mINP is its mean)

INP: Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook", TPAMI 2021,
arXiv 2001.04193. Means are over the queries that have a match left after the protocol's filter; the
other queries are only counted. Protocols differ in the filter and in what CMC counts:

    protocol  a query is not compared with                     CMC over     source
    regdb     (no filter)                                      images       Ye et al., AAAI 2018
    sysu      any camera-2 image, if it is from camera 3       identities   Wu et al., ICCV 2017
    llcm      images of its own identity from its own camera   identities   Zhang and Wang, CVPR 2023

CMC over identities keeps only the first image of each identity in the filtered list, so a wrong
identity ahead of the match counts once; AP and INP use the whole filtered list.

Public evaluations differ in these points, so that their figures cannot be compared:
- SYSU-MM01's filter: in the authors' MATLAB code, cameras 2 and 3 are one location, and every gallery
  image from the query's location is left out, whatever its identity. The common Python version does the
  same, and so do we. At least one port leaves out, for mINP alone, only images of the query's identity
  (the Market-1501 rule).
- SYSU-MM01's gallery: MATLAB code draws it by a fixed table, rand_perm_cam.mat; most Python code draws
  it with the seeds 0 to 9.
- Ties (repeated images, quantised features): a sort that is not stable orders them at random.

Method: a match's rank is one more than the number of larger similarities (found by binary search in the
sorted values, without argsort) and of equal ones earlier in the gallery. Blocks of queries bound memory.

Shapes: q queries, g gallery images, d feature dimensions, b queries of a block, m matches of a query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from tsme.errors import UserError
from tsme.evaluation.inputs import Numbers, as_column, as_features, as_matrix, check_finite

Protocol = Literal["regdb", "sysu", "llcm"]
PROTOCOLS: tuple[Protocol, ...] = ("regdb", "sysu", "llcm")
Sides = tuple[ArrayLike | None, ArrayLike | None]  # one array for queries, one for the gallery
CMC_LENGTH = 20
PRODUCT_BYTES = 3 * 2**23  # similarities computed at once; matrix products of few rows are slow
RANKED_BYTES = 2**20  # similarities ranked at once; they fit the processor's cache


@dataclass(frozen=True)
class RankingMetrics:
    """Means over the valid queries, all in [0, 1].

    `cmc[k - 1]` is the share of queries with a match among the first k. It has 20 entries, or as many as
    the gallery has images (identities, if CMC is over identities). `skipped_queries` have no match.
    """

    cmc: NDArray[np.float64]
    mAP: float
    mINP: float
    queries: int
    skipped_queries: int

    def rank(self, k: int) -> float:
        """Rank-k accuracy, k >= 1; beyond the end of `cmc`, its last entry."""
        return float(self.cmc[min(k, len(self.cmc)) - 1])


def evaluate(
    query_features: ArrayLike,
    query_ids: ArrayLike,
    gallery_features: ArrayLike,
    gallery_ids: ArrayLike,
    *,
    protocol: Protocol = "regdb",
    query_cameras: ArrayLike | None = None,
    gallery_cameras: ArrayLike | None = None,
) -> RankingMetrics:
    """Rank the gallery by dot product with each query and compute the metrics of its matches.

    Features (q, d) and (g, d); identities (q,) and (g,), numbers or text; cameras (q,) and (g,), numbers,
    not used by regdb. All may be arrays, or tensors on any device. Products are float32, or float64 if
    one of the inputs is. For cosine similarity, normalise the features first.

    Raises UserError for arrays of wrong shape or type, features that are not finite or so large that
    products overflow, missing cameras, an unknown protocol, or no valid query.
    """
    queries, gallery = as_features(query_features, "query"), as_features(gallery_features, "gallery")
    if queries.shape[1] != gallery.shape[1]:
        raise UserError(f"query features are {queries.shape[1]}-d, gallery {gallery.shape[1]}-d")
    shape, cameras = (len(queries), len(gallery)), (query_cameras, gallery_cameras)
    comparison = _compare(protocol, shape, (query_ids, gallery_ids), cameras)

    def product(rows: slice) -> Numbers:
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow is reported as a UserError
            return queries[rows] @ gallery.T

    return _measure(product, np.result_type(queries, gallery).itemsize, comparison)


def evaluate_similarity(
    similarity: ArrayLike,
    query_ids: ArrayLike,
    gallery_ids: ArrayLike,
    *,
    protocol: Protocol = "regdb",
    query_cameras: ArrayLike | None = None,
    gallery_cameras: ArrayLike | None = None,
) -> RankingMetrics:
    """`evaluate` for given similarities (q, g), larger = more alike, for example from `rerank`.

    The matrix is not modified. Raises UserError as `evaluate` does, and for NaN or infinity in it.
    """
    matrix = as_matrix(similarity, "similarities")
    cameras = query_cameras, gallery_cameras
    comparison = _compare(protocol, matrix.shape, (query_ids, gallery_ids), cameras)
    return _measure(lambda rows: matrix[rows], matrix.itemsize, comparison)


@dataclass(frozen=True)
class _Comparison:
    """Identities and cameras of queries and gallery, indexed, and the protocol's filter."""

    protocol: Protocol
    query: Numbers  # (q,) identities as 0, 1, ...
    gallery: Numbers  # (g,)
    cameras: list[Numbers]  # (q,) and (g,), or empty
    by_identity: Numbers  # (g,) gallery images ordered by identity
    counts: NDArray[np.intp]  # gallery images of each identity
    starts: NDArray[np.intp]  # start of each identity in by_identity

    @property
    def cmc_length(self) -> int:
        """20, or fewer if the gallery has fewer images or identities, whichever CMC counts."""
        entries = len(self.gallery) if self.protocol == "regdb" else np.count_nonzero(self.counts)
        return min(CMC_LENGTH, int(entries))

    def matches(self, rows: slice) -> tuple[Numbers, NDArray[np.bool_]]:
        """Columns (b, m) of the images of each query's identity, and which of them are not padding."""
        identities = self.query[rows]
        place = np.arange(max(1, self.counts[identities].max()))
        real = place < self.counts[identities][:, None]
        places = np.where(real, self.starts[identities][:, None] + place, 0)
        return self.by_identity[places], real

    def hide(self, similarity: Numbers, rows: slice, columns: Numbers, real: Numbers) -> Numbers:
        """`similarity` (b, g) with -inf for images that the filter leaves out."""
        if not self.cameras:
            return similarity
        query, gallery = self.cameras[0][rows][:, None], self.cameras[1]
        if self.protocol == "sysu":
            hidden = np.ix_(np.flatnonzero(query == 3), np.flatnonzero(gallery == 2))
        else:
            row, place = np.nonzero(real & (gallery[columns] == query))
            hidden = row, columns[row, place]
        similarity = similarity.copy()
        similarity[hidden] = -np.inf
        return similarity


def _compare(protocol: Protocol, shape: tuple[int, ...], ids: Sides, cameras: Sides) -> _Comparison:
    """Check and index identities and cameras; `shape` is (q, g)."""
    if protocol not in PROTOCOLS:
        raise UserError(f"protocol {protocol}: unknown; there are: {', '.join(PROTOCOLS)}")
    q, g = shape
    query_ids, gallery_ids = as_column(ids[0], q, "query_ids"), as_column(ids[1], g, "gallery_ids")
    if (query_ids.dtype.kind in "US") != (gallery_ids.dtype.kind in "US"):
        raise UserError("query_ids and gallery_ids: one is text, the other numbers")
    sides = [(cameras[0], q, "query_cameras"), (cameras[1], g, "gallery_cameras")]
    # Numbers only: the text "3" would not equal camera 3, and the filter would not work.
    camera_columns = [as_column(*side, kinds="iuf") for side in sides if protocol != "regdb"]
    identities = np.unique(np.concatenate([query_ids, gallery_ids]))
    query, gallery = (
        np.searchsorted(identities, side).astype(np.int32) for side in (query_ids, gallery_ids)
    )
    counts = np.bincount(gallery, minlength=len(identities))
    by_identity = np.argsort(gallery, kind="stable").astype(np.int32)
    starts = np.cumsum(counts) - counts
    return _Comparison(protocol, query, gallery, camera_columns, by_identity, counts, starts)


def _measure(block: Callable[[slice], Numbers], itemsize: int, comparison: _Comparison) -> RankingMetrics:
    """Metrics of a comparison; `block` returns rows of the similarities."""
    q, g = len(comparison.query), len(comparison.gallery)
    scores: list[NDArray[np.float64]] = []
    for rows in _slices(0, q, PRODUCT_BYTES // (itemsize * g)):
        scores += _score(block(rows), rows, comparison)
    firsts, precisions, penalties = np.concatenate(scores, axis=1)
    if not len(firsts):
        raise UserError("no query has a match in the gallery: nothing to measure")
    cmc = np.mean(firsts[:, None] <= np.arange(1, comparison.cmc_length + 1), axis=0)
    means = float(precisions.mean()), float(penalties.mean())
    return RankingMetrics(cmc, *means, len(firsts), q - len(firsts))


def _score(block: Numbers, rows: slice, comparison: _Comparison) -> Iterator[NDArray[np.float64]]:
    """First rank (as CMC counts it), AP and INP of valid queries, (3, n) for each part of a block."""
    for part in _slices(rows.start, rows.stop, RANKED_BYTES // block[:1].nbytes):
        similarity = np.ascontiguousarray(block[part.start - rows.start : part.stop - rows.start])
        check_finite(similarity, "similarities (or products of large features)")
        columns, real = comparison.matches(part)
        similarity = comparison.hide(similarity, part, columns, real)
        ranks = _ranks(similarity, columns, real)
        firsts = ranks.min(axis=1)
        if comparison.protocol != "regdb":
            firsts = _identity_ranks(similarity, columns, ranks, comparison)
        valid = np.isfinite(firsts)
        ranks, firsts = np.sort(ranks[valid], axis=1), firsts[valid]
        counts = np.isfinite(ranks).sum(axis=1)
        precisions = (np.arange(1, ranks.shape[1] + 1) / ranks).sum(axis=1) / counts
        penalties = counts / np.take_along_axis(ranks, counts[:, None] - 1, axis=1)[:, 0]
        yield np.stack([firsts, precisions, penalties])


def _ranks(similarity: Numbers, columns: Numbers, real: Numbers) -> NDArray[np.float64]:
    """Ranks (b, m) from 1 of the entries at `columns`; infinite if filtered out or padding."""
    values = np.where(real, np.take_along_axis(similarity, columns, axis=1), -np.inf)
    ordered = torch.from_numpy(np.sort(similarity, axis=1))
    not_larger = torch.searchsorted(ordered, torch.from_numpy(values), right=True).numpy()
    visible = values > -np.inf
    ranks = np.where(visible, 1.0 + similarity.shape[1] - not_larger, np.inf)
    below = np.take_along_axis(ordered.numpy(), np.maximum(not_larger - 2, 0), axis=1)
    tied = visible & (below == values) & (not_larger > 1)  # equal to the next smaller value
    for row in np.flatnonzero(tied.any(axis=1)):
        for value in np.unique(values[row, tied[row]]):
            same = values[row] == value
            equal = np.flatnonzero(similarity[row] == value)
            ranks[row, same] += np.searchsorted(equal, columns[row, same])  # earlier in the gallery
    return ranks


def _identity_ranks(
    similarity: Numbers, columns: Numbers, ranks: Numbers, comparison: _Comparison
) -> Numbers:
    """Rank (b,) of the query's identity among identities: one more than the number ahead of it."""
    best = ranks.argmin(axis=1)
    firsts = ranks.min(axis=1)
    for row in np.flatnonzero((firsts > 2) & np.isfinite(firsts)):  # with one image ahead, the rank is 2
        column, line = columns[row, best[row]], similarity[row]
        ahead = line > line[column]
        ahead[:column] |= line[:column] == line[column]
        firsts[row] = 1 + np.count_nonzero(np.bincount(comparison.gallery[ahead]))
    return firsts


def _slices(start: int, stop: int, step: int) -> list[slice]:
    step = max(1, step)
    return [slice(i, min(i + step, stop)) for i in range(start, stop, step)]
