"""Exact search: the largest dot products among all vectors of an index, in bounded memory.

Not faiss's flat index, which holds all vectors in memory: 12 GB for a million of 3072 float32 values.
This one maps a shard of float16 values at a time, converts a few hundred vectors so that they stay in
the processor's cache, and keeps the best so far. tests/benchmarks/NOTES.md compares the two.

Shapes: q queries, n vectors, d dimensions, k results.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROWS = 256  # vectors converted to float32 at once: 3 MB of 3072 values

Blocks = Iterable[tuple[int, NDArray[np.float16]]]


def search(
    blocks: Blocks, queries: NDArray[np.float32], top: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Dot products (q, k) and rows (q, k) of the `top` best vectors, best first; ties by row.

    `blocks` yields vectors float16 (n, d) and the row of the first of them. k is the number of vectors
    if there are fewer than `top`.
    """
    best = np.empty((len(queries), 0), dtype=np.uint64)
    for first, vectors in blocks:
        scores = dot_products(torch.from_numpy(vectors), torch.from_numpy(queries)).numpy()
        best = _smallest(np.concatenate([best, _keys(scores, first)], axis=1), top)
    best.sort(axis=1)
    return _scores(best), (best & np.uint64(0xFFFFFFFF)).astype(np.int64)


def dot_products(vectors: Tensor, queries: Tensor) -> Tensor:
    """float32 (q, n) of vectors float16 (n, d) and queries float32 (q, d)."""
    products = torch.empty(len(queries), len(vectors))
    buffer = torch.empty(ROWS, vectors.shape[1])
    for start in range(0, len(vectors), ROWS):
        part = vectors[start : start + ROWS]
        converted = buffer[: len(part)].copy_(part)
        products[:, start : start + len(part)] = queries @ converted.T
    return products


def _keys(scores: NDArray[np.float32], first: int) -> NDArray[np.uint64]:
    """Integers (q, n) that sort by score, largest first, then by row.

    The upper half is the score's bits, changed so that they sort like the numbers and then inverted;
    the lower half is the row.
    """
    bits = scores.view(np.uint32)
    ascending = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    rows = np.arange(first, first + scores.shape[1], dtype=np.uint64)
    return (~ascending).astype(np.uint64) << np.uint64(32) | rows


def _scores(keys: NDArray[np.uint64]) -> NDArray[np.float32]:
    """The scores that `_keys` has made keys of."""
    ascending = ~(keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(ascending >> 31, ascending ^ np.uint32(1 << 31), ~ascending)
    return bits.astype(np.uint32).view(np.float32)


def _smallest(keys: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    """The `count` smallest keys of each row, in no order."""
    if keys.shape[1] > count:
        keys.partition(count - 1, axis=1)
        keys = keys[:, :count].copy()
    return keys
