"""Re-ranking by k-reciprocal neighbours: images are similar if they share their nearest neighbours.

Zhong, Zheng, Cao and Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017,
computed in float32. Queries and gallery form one set of n images. D holds the squared Euclidean
distances, each row divided by its maximum; N(i, k) is the k + 1 nearest images of image i, itself
included, with ties ordered by index:

    R(i, k) = those j of N(i, k) that have i in N(j, k)
    R*(i)   = R(i, k1) and every R(c, k1 / 2), c in R(i, k1), of which more than 2/3 are in R(i, k1)
    V[i, j] = exp(-D[i, j]) for j in R*(i), else 0; each row divided by its sum
    V'[i]   = the mean of V over the k2 nearest of i, itself included
    J[i, j] = 1 - s / (2 - s), s = sum over c of min(V'[i, c], V'[j, c])    (Jaccard distance)
    final   = (1 - weight) * J + weight * D

As in the published code, k1 / 2 is rounded half to even, and k2 = 1 skips V'. Unlike the published code,
this one never holds n x n numbers: it computes D in blocks, keeps the nearest neighbours and the (q, g)
part, and stores V without zeros. Neighbours are ordered before the division by the row's maximum, which
keeps the order but can round two distances to the same number.

Re-ranking uses all queries at once: compare its figures only with re-ranked ones of the same queries.

Shapes: q queries, g gallery images, n = q + g, d feature dimensions, b images of a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsme.errors import UserError
from tsme.evaluation.inputs import as_features

BLOCK = 2**21  # numbers in a block: b x n, or images x d


@dataclass(frozen=True)
class _Sparse:
    """A matrix of mostly zeros: row i holds `values` at `columns`, from starts[i] to starts[i + 1]."""

    starts: NDArray[np.intp]
    columns: NDArray[np.int32]
    values: NDArray[np.float32]

    @classmethod
    def of(cls, rows: int, owner: NDArray[Any], columns: NDArray[Any], values: NDArray[Any]) -> _Sparse:
        """From the entries' rows (`owner`, ascending), columns and values."""
        starts = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=rows))])
        return cls(starts, columns.astype(np.int32), values.astype(np.float32))

    def entries(self, rows: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """For all entries of `rows`, row by row: the index into `rows`, and the position in `values`."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        owner = np.repeat(np.arange(len(rows)), lengths)
        before = np.cumsum(lengths) - lengths
        return owner, np.arange(len(owner)) + (self.starts[rows] - before)[owner]


def rerank(
    query_features: ArrayLike,
    gallery_features: ArrayLike,
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
) -> NDArray[np.float32]:
    """Similarities (q, g), larger = more alike: the negative final distance, in [-1, 0] up to rounding.

    Features (q, d) and (g, d) as for `evaluate`; for cosine distances, normalise them first. `weight`
    (lambda in the paper) in [0, 1] is the weight of the original distance.

    Raises UserError for features of wrong shape, not finite or so large that squares overflow, for k1 or
    k2 below 1, and for a weight outside [0, 1].
    """
    queries, gallery = as_features(query_features, "query"), as_features(gallery_features, "gallery")
    if queries.shape[1] != gallery.shape[1]:
        raise UserError(f"query features are {queries.shape[1]}-d, gallery {gallery.shape[1]}-d")
    if k1 < 1 or k2 < 1 or not 0 <= weight <= 1:
        raise UserError(f"k1={k1}, k2={k2}, weight={weight}: expected k1, k2 >= 1 and weight in [0, 1]")
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow is reported as a UserError
        features = np.concatenate([queries, gallery]).astype(np.float32, copy=False)
        final, neighbours = _neighbours(features, len(queries), max(k1 + 1, k2))
    encoding = _expand(_encode(features, neighbours, k1), neighbours.nearest[:, :k2])
    shared = _by_column(encoding, len(queries))
    for query, row in enumerate(final):
        overlap = _overlap(encoding, shared, query, len(row))
        row *= -weight
        row -= (1 - weight) * (1 - overlap / (2 - overlap))
    return final


@dataclass(frozen=True)
class _Neighbours:
    """The nearest neighbours of n images, and their distances D."""

    nearest: NDArray[np.int32]  # (n, k), nearest first
    distances: NDArray[np.float32]  # (n, k)
    scale: NDArray[np.float32]  # (n,) the maximum of every row


def _neighbours(
    features: NDArray[np.float32], q: int, count: int
) -> tuple[NDArray[np.float32], _Neighbours]:
    """D of queries to gallery (q, g), and the `count` nearest neighbours of every image.

    A block of rows is compared only with itself and later images; by symmetry this gives the later
    images' distances to the block as well, which halves the matrix products.
    """
    n = len(features)
    original = np.empty((q, n - q), dtype=np.float32)
    keys = np.full((n, min(count, n)), np.iinfo(np.uint64).max)
    scale = np.zeros(n, dtype=np.float32)
    squares = np.einsum("nd,nd->n", features, features)
    for rows in _blocks(n, n):
        distance = features[rows] @ features[rows.start :].T  # (b, n - start)
        distance *= -2
        distance += squares[rows, None]
        distance += squares[rows.start :]
        np.maximum(distance, 0, out=distance)  # rounding can make it negative
        if rows.start < q:
            original[rows] = distance[: q - rows.start, q - rows.start :]
        later = distance[:, len(distance) :].T
        for images, part in ((rows, distance), (slice(rows.stop, n), later)):
            scale[images] = np.maximum(scale[images], part.max(axis=1, initial=0))
            keys[images] = _smallest(keys[images], part, rows.start)
    if not np.isfinite(scale).all():
        raise UserError("features are too large: their squares overflow")
    scale[scale == 0] = 1  # all images are equal
    original /= scale[:q, None]
    distances = (keys >> np.uint64(32)).astype(np.uint32).view(np.float32) / scale[:, None]
    return original, _Neighbours(keys.astype(np.uint32).astype(np.int32), distances, scale)


def _smallest(keys: NDArray[np.uint64], distance: NDArray[np.float32], first: int) -> NDArray[np.uint64]:
    """The k smallest of `keys` (b, k) and the keys of `distance` (b, c) to the images from `first` on.

    A key is an integer with the distance's bits above the image's index, so that it sorts by distance,
    then by index: floats that are not negative sort like their bits.
    """
    new = np.array(distance.view(np.uint32), dtype=np.uint64, order="C")
    new <<= np.uint64(32)
    new |= np.arange(first, first + distance.shape[1], dtype=np.uint64)
    candidates = np.concatenate([keys, new], axis=1)
    candidates.partition(keys.shape[1] - 1, axis=1)
    return np.sort(candidates[:, : keys.shape[1]], axis=1)


def _encode(features: NDArray[np.float32], neighbours: _Neighbours, k1: int) -> _Sparse:
    """V: the weights of each image's expanded k-reciprocal neighbours R*."""
    n = len(features)
    nearest = neighbours.nearest[:, : k1 + 1]
    halves = nearest[:, : round(k1 / 2) + 1]
    reciprocal, reciprocal_halves = _reciprocal(nearest), _reciprocal(halves)
    parts = []
    for rows in _blocks(n, n):
        near, own = nearest[rows], reciprocal[rows]  # (b, k1 + 1)
        place = np.arange(len(near))[:, None]
        member = np.zeros((len(near), n), dtype=bool)
        member[np.broadcast_to(place, near.shape)[own], near[own]] = True
        candidates, real = halves[near], reciprocal_halves[near]  # (b, k1 + 1, k1 / 2 + 1)
        inside = (member[place[:, :, None], candidates] & real).sum(axis=2)
        added = (own & (3 * inside > 2 * real.sum(axis=2)))[:, :, None] & real
        member[np.broadcast_to(place[:, :, None], candidates.shape)[added], candidates[added]] = True
        owner, column = _places(member)
        known = np.full((len(near), n), np.nan, dtype=np.float32)
        known[place, near] = neighbours.distances[rows, : k1 + 1]
        distances = known[owner, column]
        owner += rows.start
        far = np.flatnonzero(np.isnan(distances))  # members by expansion that are not among the nearest
        distances[far] = _distances(features, owner[far], column[far]) / neighbours.scale[owner[far]]
        parts.append((owner, column, np.exp(-distances)))
    owner, column, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _Sparse.of(n, owner, column, weights / np.bincount(owner, weights, n)[owner])


def _reciprocal(nearest: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of each image's nearest neighbours (n, k) have the image among their own."""
    n, k = nearest.shape
    mutual = np.empty((n, k), dtype=bool)
    for rows in _blocks(n, k * k):
        images = np.arange(rows.start, rows.stop)[:, None, None]
        mutual[rows] = (nearest[nearest[rows]] == images).any(axis=2)
    return mutual


def _distances(
    features: NDArray[np.float32], first: NDArray[Any], second: NDArray[Any]
) -> NDArray[np.float32]:
    """Squared distances of pairs of images (p,)."""
    distances = np.empty(len(first), dtype=np.float32)
    for pairs in _blocks(len(first), features.shape[1]):
        difference = features[first[pairs]] - features[second[pairs]]
        distances[pairs] = np.einsum("pd,pd->p", difference, difference)
    return distances


def _expand(encoding: _Sparse, nearest: NDArray[np.int32]) -> _Sparse:
    """V': the mean of the encodings of each image's `nearest` (n, k2) (local query expansion)."""
    n, k2 = nearest.shape
    if k2 == 1:  # no expansion, even if a duplicate comes before the image itself
        return encoding
    parts = []
    for rows in _blocks(n, n):
        total = np.zeros((rows.stop - rows.start, n), dtype=np.float32)
        for neighbours in nearest[rows].T:
            place, entries = encoding.entries(neighbours)
            total[place, encoding.columns[entries]] += encoding.values[entries]
        owner, column = _places(total != 0)
        parts.append((owner + rows.start, column, total[owner, column] / k2))
    owner, column, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _Sparse.of(n, owner, column, values)


def _by_column(encoding: _Sparse, q: int) -> _Sparse:
    """The gallery's rows of the encoding (n, n), transposed: (n, g)."""
    n = len(encoding.starts) - 1
    gallery = np.arange(q, n)
    image, entries = encoding.entries(gallery)
    order = np.argsort(encoding.columns[entries], kind="stable")
    entries = entries[order]
    return _Sparse.of(n, encoding.columns[entries], image[order], encoding.values[entries])


def _overlap(encoding: _Sparse, shared: _Sparse, query: int, g: int) -> NDArray[Any]:
    """Sums (g,) of the minimum of the query's and each gallery image's weights."""
    span = slice(encoding.starts[query], encoding.starts[query + 1])
    owner, entries = shared.entries(encoding.columns[span])
    smaller = np.minimum(encoding.values[span][owner], shared.values[entries])
    return np.bincount(shared.columns[entries], smaller, g)


def _places(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of true entries, row by row; faster than np.nonzero if few entries are true."""
    rows, columns = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return rows, columns


def _blocks(count: int, width: int) -> list[slice]:
    step = max(1, BLOCK // width)
    return [slice(i, min(i + step, count)) for i in range(0, count, step)]
