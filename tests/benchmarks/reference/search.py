"""Ranking and re-ranking as published: full sorts, dense matrices, a loop over the images.

Shapes: q queries, g gallery images, n = q + g, d feature dimensions.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

Numbers = NDArray[Any]
RANKS = 20


def rank(
    similarity: Numbers, query_ids: Numbers, gallery_ids: Numbers, *, arrays: bool = False
) -> Numbers:
    """CMC(1), ..., CMC(20), mAP and mINP of similarities (q, g), all of the gallery ranked.

    Public code has a list of each query's precisions, made of NumPy's scalars one by one, which takes
    ten times as long as the sort. With `arrays` it is one division instead: the better plain way.
    """
    places = np.arange(1, similarity.shape[1] + 1)
    order = np.argsort(-similarity, axis=1)
    matches = (gallery_ids[order] == query_ids[:, None]).astype(np.int32)
    curves, precisions, penalties = [], [], []
    for row in matches:
        if not row.any():
            continue
        found = row.cumsum()
        last = np.flatnonzero(row)[-1]
        penalties.append(found[last] / (last + 1.0))
        curves.append(np.minimum(found, 1)[:RANKS])
        if arrays:
            precision = found / places
        else:
            precision = [count / (place + 1.0) for place, count in enumerate(found)]
        precisions.append((np.asarray(precision) * row).sum() / row.sum())
    return np.array([*np.mean(curves, axis=0), np.mean(precisions), np.mean(penalties)])


def rank_features(
    queries: Numbers, query_ids: Numbers, gallery: Numbers, gallery_ids: Numbers
) -> Numbers:
    """`rank` by dot product of features (q, d) and (g, d)."""
    return rank(np.matmul(queries, gallery.T), query_ids, gallery_ids)


def rerank(
    queries: Numbers,
    gallery: Numbers,
    sort: Literal["quicksort", "stable"],
    *,
    numpy_product: bool = False,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
) -> Numbers:
    """Final distances (q, g) by k-reciprocal encoding (Zhong et al., CVPR 2017), of dense matrices.

    Published code sorts by "quicksort"; "stable" leaves equal distances in the order of the images.
    """
    features = np.concatenate([queries, gallery]).astype(np.float32)
    distance = _distances(features, numpy_product=numpy_product)
    q, n = len(queries), len(distance)
    order = np.argsort(distance, axis=1, kind=sort).astype(np.int32)
    encoding = np.zeros_like(distance)
    for i in range(n):
        members = _expanded(order, i, k1)
        weights = np.exp(-distance[i, members])
        encoding[i, members] = weights / weights.sum()
    if k2 != 1:
        averaged = np.zeros_like(encoding)
        for i in range(n):
            averaged[i] = encoding[order[i, :k2]].mean(axis=0)
        encoding = averaged
    holders = [np.flatnonzero(encoding[:, j]) for j in range(n)]
    jaccard = np.zeros((q, n), dtype=np.float32)
    for i in range(q):
        shared = np.zeros(n, dtype=np.float32)
        for j in np.flatnonzero(encoding[i]):
            shared[holders[j]] += np.minimum(encoding[i, j], encoding[holders[j], j])
        jaccard[i] = 1 - shared / (2 - shared)
    final = (1 - weight) * jaccard + weight * distance[:q]
    return final[:, q:]


def _distances(features: Numbers, *, numpy_product: bool) -> Numbers:
    """Squared distances of all images to all (n, n), each row divided by its largest.

    Published code has torch add the product to the squares in place. The better plain way is NumPy's
    product, which sees that both factors are one matrix and does half of the multiplications.
    """
    squares = (features**2).sum(axis=1)
    distance = squares[:, None] + squares[None]
    if numpy_product:
        distance -= 2 * (features @ features.T)
    else:
        both = torch.from_numpy(features)
        torch.from_numpy(distance).addmm_(both, both.T, alpha=-2)
    return distance / distance.max(axis=1, keepdims=True)


def _reciprocal(order: Numbers, i: int, k: int) -> Numbers:
    """Those of the k + 1 nearest of image i that have i among theirs."""
    forward = order[i, : k + 1]
    backward = order[forward, : k + 1]
    return forward[np.nonzero(backward == i)[0]]


def _expanded(order: Numbers, i: int, k1: int) -> Numbers:
    members = _reciprocal(order, i, k1)
    expanded = members
    for candidate in members:
        theirs = _reciprocal(order, candidate, round(k1 / 2))
        if len(np.intersect1d(theirs, members)) > 2 / 3 * len(theirs):
            expanded = np.append(expanded, theirs)
    return np.unique(expanded)
