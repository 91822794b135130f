"""Ranking metrics of the field: CMC, mAP and mINP, under each data set's gallery rules.

Shapes: q queries, g gallery images, d feature dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsme.errors import UserError

Protocol = Literal["regdb", "sysu", "llcm"]
PROTOCOLS: tuple[Protocol, ...] = ("regdb", "sysu", "llcm")
CMC_LENGTH = 20
BLOCK = 256  # queries ranked at once: bounds memory to BLOCK x g


@dataclass(frozen=True)
class RankingMetrics:
    """Means over the valid queries, all in [0, 1].

    `cmc[k - 1]` is the share of queries with a match among the first k (20 entries, or as many as
    the gallery has). `skipped_queries` had no match in the gallery and are in no mean.
    """

    cmc: NDArray[np.float64]
    mAP: float
    mINP: float
    queries: int
    skipped_queries: int

    def rank(self, k: int) -> float:
        """Rank-k accuracy; with fewer than k gallery entries, that of the last."""
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
    """Rank the gallery for every query by dot product and measure where the matches stand.

    Features (q, d) and (g, d), identities (q,) and (g,), cameras likewise. Equal similarities keep
    gallery order. Protocols:
    - regdb: every gallery image counts; CMC over images.
    - sysu: a camera-3 query skips all camera-2 images (the same place); CMC over identities, each
      at its first image. Wu et al., ICCV 2017.
    - llcm: a query skips images of its own identity from its own camera; CMC over identities. Zhang
      and Wang, CVPR 2023.
    mINP (Ye et al., TPAMI 2021) is the mean of matches / rank of the last match.

    Raises UserError for arrays that do not fit, features that are not finite, missing cameras, an
    unknown protocol, or no valid query.
    """
    queries, gallery = _features(query_features, "query"), _features(gallery_features, "gallery")
    if queries.shape[1] != gallery.shape[1]:
        raise UserError(f"query features are {queries.shape[1]}-d, gallery {gallery.shape[1]}-d")
    q_ids = _column(query_ids, len(queries), "query_ids")
    g_ids = _column(gallery_ids, len(gallery), "gallery_ids")
    if protocol not in PROTOCOLS:
        raise UserError(f"protocol {protocol}: unknown; there are: {', '.join(PROTOCOLS)}")
    if protocol == "regdb":
        q_cameras, g_cameras = np.zeros(len(q_ids)), np.zeros(len(g_ids))
    else:
        q_cameras = _column(query_cameras, len(queries), "query_cameras")
        g_cameras = _column(gallery_cameras, len(gallery), "gallery_cameras")
    counted: list[tuple[NDArray[np.float64], float, float]] = []
    length = min(CMC_LENGTH, len(gallery) if protocol == "regdb" else len(np.unique(g_ids)))
    for start in range(0, len(queries), BLOCK):
        similarity = queries[start : start + BLOCK] @ gallery.T
        orders = np.argsort(-similarity, axis=1, kind="stable")
        for row, order in enumerate(orders, start):
            kept = order[_visible(protocol, q_ids[row], q_cameras[row], g_ids, g_cameras)[order]]
            if (g_ids[kept] == q_ids[row]).any():
                counted.append(_score(g_ids[kept], q_ids[row], length, protocol != "regdb"))
    if not counted:
        raise UserError("no query has a match in the gallery: nothing to measure")
    cmcs, precisions, penalties = zip(*counted, strict=True)
    means = float(np.mean(precisions)), float(np.mean(penalties))
    return RankingMetrics(np.mean(cmcs, axis=0), *means, len(counted), len(queries) - len(counted))


def _visible(
    protocol: Protocol, identity: Any, camera: Any, ids: NDArray[Any], cameras: NDArray[Any]
) -> NDArray[np.bool_]:
    """Which gallery images (g,) this query is compared with."""
    if protocol == "sysu" and camera == 3:
        return cameras != 2
    if protocol == "llcm":
        return (ids != identity) | (cameras != camera)
    return np.ones(len(ids), dtype=bool)


def _score(
    ranked_ids: NDArray[Any], identity: Any, length: int, by_identity: bool
) -> tuple[NDArray[np.float64], float, float]:
    """CMC (length,), average precision and inverse negative penalty of one query."""
    ranks = np.flatnonzero(ranked_ids == identity) + 1  # of the matches, from 1
    found = np.arange(1, len(ranks) + 1)
    first = ranks[0]
    if by_identity:  # the rank among identities, each counted at its first image
        first = len(np.unique(ranked_ids[:first]))
    cmc = (np.arange(1, length + 1) >= first).astype(np.float64)
    return cmc, float(np.mean(found / ranks)), float(len(ranks) / ranks[-1])


def _features(values: ArrayLike, name: str) -> NDArray[Any]:
    features = np.asarray(values)
    if features.ndim != 2 or len(features) == 0:
        raise UserError(f"{name} features have shape {features.shape}; expected (n, d), n > 0")
    if not np.isfinite(features).all():
        raise UserError(f"{name} features hold NaN or infinity")
    return features


def _column(values: ArrayLike | None, count: int, name: str) -> NDArray[Any]:
    if values is None:
        raise UserError(f"this protocol needs {name}")
    column = np.asarray(values)
    if column.shape != (count,):
        raise UserError(f"{name} has shape {column.shape}; expected ({count},)")
    return column
