"""One query: an image in, a ranked list of gallery images out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tsme.data.types import Modality
from tsme.evaluation.reranking import rerank
from tsme.search import exact
from tsme.search.embedder import ImageEmbedder, told_modality
from tsme.search.index import GalleryIndex

RERANKED = 100  # candidates that are re-ranked

SearchFunction = Callable[
    [NDArray[np.float32], int], tuple[NDArray[np.float32], NDArray[np.int64]]
]  # queries (q, d) and k -> scores (q, k) and rows (q, k)


@dataclass(frozen=True)
class Match:
    """A gallery image and how well it matches.

    `score` is the cosine similarity in [-1, 1]. `reranked`, if the list was re-ranked, is in [-1, 0];
    it orders the list.
    """

    rank: int
    row: int
    score: float
    reranked: float | None
    path: str
    label: str
    modality: Modality


@dataclass(frozen=True)
class RankedList:
    """The best matches of a query; `told` if the image itself told its modality."""

    modality: Modality
    told: bool
    matches: list[Match]

    def to_json(self) -> dict[str, Any]:
        """The list as plain values."""
        return asdict(self)


class Searcher:
    """An index with the model that made it. Raises UserError for another model's index."""

    def __init__(
        self, index: GalleryIndex, embedder: ImageEmbedder, search: SearchFunction | None = None
    ) -> None:
        index.require_model(embedder.identity)
        self.index, self.embedder = index, embedder
        self.search = search or self._exact

    def _exact(
        self, queries: NDArray[np.float32], top: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return exact.search(self.index.blocks(), queries, top)

    def find(
        self, image: Image.Image, modality: Modality | None, top: int, *, reranked: bool = False
    ) -> RankedList:
        """The `top` matches of an RGB image; without a modality, the image tells it.

        With `reranked`, the RERANKED best are ordered again by k-reciprocal neighbours among them.
        """
        pixels = self.embedder.pixels(image)
        shown = modality or told_modality(pixels)
        query = self.embedder.embed(np.array([pixels]), shown)
        scores, rows = self.search(query, max(top, RERANKED) if reranked else top)
        scores, rows = scores[0][rows[0] >= 0], rows[0][rows[0] >= 0]
        again: NDArray[np.float32] | None = None
        if reranked:
            (again,) = rerank(query, self.index.vectors(rows))
            order = np.argsort(-again, kind="stable")
            scores, rows, again = scores[order], rows[order], again[order]
        matches = [
            Match(
                rank=place + 1,
                row=int(row),
                score=round(float(scores[place]), 6),
                reranked=None if again is None else round(float(again[place]), 6),
                **self.index.image(int(row))._asdict(),
            )
            for place, row in enumerate(rows[:top])
        ]
        return RankedList(shown, modality is None, matches)
