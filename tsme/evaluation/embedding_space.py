"""How embeddings lie: distances between images of the same and of different identities, and a map.

Shapes: n images of a modality, d embedding dimensions.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tsme.config import Frozen
from tsme.data.types import MODALITIES, Modality, Split
from tsme.evaluation.features import Embeddings

MAX_IMAGES = 1000  # of a modality: a million pairs
BINS = 50
MAPPED_IDENTITIES = 8
MAPPED_IMAGES = 10  # of each of them, in either modality
MAPPED_OTHERS = 150  # images of other identities, of either modality

Comparison = Literal["visible and infrared", "visible", "infrared"]
Numbers = NDArray[np.float32]


class Histogram(Frozen):
    """Pairs of images by cosine distance: counts per bin, of the same and of different identities."""

    same: list[int]
    different: list[int]


class Distances(Frozen):
    """Histograms across and within modalities; `edges` bound their bins."""

    edges: list[float]
    histograms: dict[Comparison, Histogram]


class MapPoint(Frozen):
    """An image on the map; `identity` is None for images that only show where the others are."""

    x: float
    y: float
    identity: int | None


class EmbeddingMap(Frozen):
    """The first two principal components; `explained` is the share of the variance along each."""

    explained: tuple[float, float]
    points: dict[Modality, list[MapPoint]]


def measure_distances(embeddings: Embeddings, split: Split) -> Distances:
    """Histograms of cosine distances, 1 - cosine, over all pairs of at most `MAX_IMAGES` per modality.

    The images are sampled with a fixed seed. A pair within a modality is counted once, and no image is
    paired with itself.
    """
    rows = {m: _sample(len(split[m]), MAX_IMAGES) for m in MODALITIES}
    unit = {m: _normalised(embeddings[m][rows[m]]) for m in MODALITIES}
    identities = {m: split[m].identities[rows[m]] for m in MODALITIES}
    edges = np.linspace(0, 2, BINS + 1)
    pairs: dict[Comparison, tuple[Modality, Modality]] = {
        "visible and infrared": ("visible", "infrared"),
        "visible": ("visible", "visible"),
        "infrared": ("infrared", "infrared"),
    }
    histograms = {}
    for name, (one, two) in pairs.items():
        distances = np.clip(1 - unit[one] @ unit[two].T, 0, 2)
        same = identities[one][:, None] == identities[two]
        counted = np.triu(np.ones_like(same), k=1) if one == two else np.ones_like(same)
        histograms[name] = Histogram(
            same=_counts(distances[same & counted], edges),
            different=_counts(distances[~same & counted], edges),
        )
    return Distances(edges=edges.tolist(), histograms=histograms)


def map_embeddings(embeddings: Embeddings, split: Split) -> EmbeddingMap:
    """Map images of both modalities by principal components, of at most `MAX_IMAGES` per modality.

    Some identities, evenly spaced in their order, are marked; other images are anonymous.
    """
    rows = {m: _sample(len(split[m]), MAX_IMAGES) for m in MODALITIES}
    known = split.identities or sorted(split.all_identities)
    places = np.unique(np.linspace(0, len(known) - 1, MAPPED_IDENTITIES).astype(int))
    marked = [known[place] for place in places]
    fitted = np.concatenate([embeddings[m][rows[m]] for m in MODALITIES]).astype(np.float64)
    mean = fitted.mean(axis=0)
    _, singular, axes = np.linalg.svd(fitted - mean, full_matrices=False)
    variances = np.append(singular**2, [0, 0])  # of two images there is one axis
    total = float(variances.sum()) or 1.0
    points: dict[Modality, list[MapPoint]] = {}
    for modality in MODALITIES:
        shown = _shown(split[modality].identities, marked, rows[modality])
        xy = np.zeros((len(shown), 2))
        projected = (embeddings[modality][list(shown)] - mean) @ axes[:2].T
        xy[:, : projected.shape[1]] = projected
        points[modality] = [
            MapPoint(x=round(float(x), 4), y=round(float(y), 4), identity=identity)
            for (x, y), identity in zip(xy, shown.values(), strict=True)
        ]
    return EmbeddingMap(
        explained=(float(variances[0]) / total, float(variances[1]) / total), points=points
    )


def _shown(
    identities: NDArray[np.int64], marked: list[int], sampled: NDArray[np.intp]
) -> dict[int, int | None]:
    """Rows to show: of other identities first, so that the marked ones are drawn above them."""
    others = sampled[~np.isin(identities[sampled], marked)]
    rows: dict[int, int | None] = {int(row): None for row in others[_sample(len(others), MAPPED_OTHERS)]}
    for identity in marked:
        own = np.flatnonzero(identities == identity)
        rows |= {int(row): identity for row in own[_sample(len(own), MAPPED_IMAGES)]}
    return rows


def _sample(count: int, limit: int) -> NDArray[np.intp]:
    """At most `limit` of `count` rows, ascending, drawn with a fixed seed."""
    if count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, limit, replace=False))


def _normalised(features: Numbers) -> Numbers:
    """Rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _counts(distances: Numbers, edges: NDArray[np.float64]) -> list[int]:
    return [int(count) for count in np.histogram(distances, edges)[0]]
