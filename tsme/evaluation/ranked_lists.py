"""Ranked lists of chosen queries, and the pairs of identities that a search confuses most often.

Shapes: q queries, g gallery images, b queries of a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsme.config import Frozen
from tsme.data.types import ImageList, Modality, Split, other
from tsme.evaluation.features import Embeddings
from tsme.evaluation.metrics import Protocol
from tsme.evaluation.protocols import Search

MAX_QUERIES = 2000  # sampled from larger searches
SHOWN = 10  # gallery images of a ranked list
LISTS = 2  # of each kind
PAIRS = 5  # of confused identities
BLOCK_BYTES = 2**24  # similarities ranked at once

Kind = Literal["best", "median", "worst"]


class Frame(Frozen):
    """An image of the data set."""

    path: str
    identity: int
    camera: int


class RankedFrame(Frame):
    """A gallery image of a ranked list, and its cosine similarity to the query.

    It is `correct` if it is of the query's identity.
    """

    similarity: float
    correct: bool


class RankedList(Frozen):
    """The first gallery images of a query; `kind` says why the query was chosen.

    `first_match` is the rank of the first image of the same identity, from 1.
    """

    kind: Kind
    average_precision: float
    first_match: int
    query: Frame
    frames: list[RankedFrame]


class ConfusedPair(Frozen):
    """Two identities, and the number of queries of either whose first gallery image is of the other.

    `query` and `frame` are the most similar such pair of images.
    """

    identities: tuple[int, int]
    queries: int
    query: Frame
    frame: RankedFrame


class SearchInspection(Frozen):
    """Ranked lists and confusions of one search, over `sampled` of its `queries`."""

    name: str
    query: Modality
    queries: int
    sampled: int
    lists: list[RankedList]
    confused: list[ConfusedPair]

    @property
    def query_paths(self) -> list[str]:
        """Paths of the query images shown."""
        return [each.query.path for each in self.lists] + [pair.query.path for pair in self.confused]

    @property
    def gallery_paths(self) -> list[str]:
        """Paths of the gallery images shown."""
        listed = [frame.path for ranked in self.lists for frame in ranked.frames]
        return [*listed, *(pair.frame.path for pair in self.confused)]


class _Ranking(NamedTuple):
    """The head of one query's list: rows of the gallery by falling similarity."""

    query: int  # row of the search's queries
    average_precision: float
    first_match: int
    gallery: NDArray[np.int64]  # (SHOWN,) rows of the search's gallery
    similarities: NDArray[np.float32]  # (SHOWN,) cosines


def inspect_search(embeddings: Embeddings, split: Split, search: Search) -> SearchInspection:
    """Ranked lists of the best, median and worst queries by average precision, and confused pairs.

    Average precision and the protocol's filter are those of `tsme.evaluation.metrics`. Queries of one
    kind are of different identities where possible.
    """
    queries = split[search.query].take(search.queries)
    gallery = split[other(search.query)].take(search.gallery)
    features = embeddings[search.query][search.queries], embeddings[other(search.query)][search.gallery]
    chosen = np.arange(len(queries))
    if len(queries) > MAX_QUERIES:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, MAX_QUERIES, replace=False))
    rankings = list(_rank(*features, queries, gallery, search.rule, chosen))
    return SearchInspection(
        name=search.name,
        query=search.query,
        queries=len(queries),
        sampled=len(chosen),
        lists=_choose(rankings, queries, gallery),
        confused=_confused(rankings, queries, gallery),
    )


def _rank(
    query_features: NDArray[np.float32],
    gallery_features: NDArray[np.float32],
    queries: ImageList,
    gallery: ImageList,
    rule: Protocol,
    chosen: NDArray[np.intp],
) -> Iterator[_Ranking]:
    """Rankings of the chosen queries that have a match; ties are in the order of the gallery."""
    step = max(1, BLOCK_BYTES // (4 * len(gallery)))
    for rows in (chosen[start : start + step] for start in range(0, len(chosen), step)):
        similarity = query_features[rows] @ gallery_features.T  # (b, g)
        similarity[_hidden(queries, gallery, rule, rows)] = -np.inf
        order = np.argsort(-similarity, axis=1, kind="stable")
        same = gallery.identities[order] == queries.identities[rows][:, None]
        same &= np.take_along_axis(similarity, order, axis=1) > -np.inf
        for row, ranked, correct, line in zip(rows, order, same, similarity, strict=True):
            ranks = np.flatnonzero(correct) + 1
            if len(ranks):
                precision = float(np.mean(np.arange(1, len(ranks) + 1) / ranks))
                head = ranked[:SHOWN][line[ranked[:SHOWN]] > -np.inf]
                lengths = np.linalg.norm(gallery_features[head], axis=1)
                cosines = line[head] / lengths / np.linalg.norm(query_features[row])
                yield _Ranking(int(row), precision, int(ranks[0]), head, cosines)


def _hidden(
    queries: ImageList, gallery: ImageList, rule: Protocol, rows: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Gallery images (b, g) that each query is not compared with; see `tsme.evaluation.metrics`."""
    cameras, identities = queries.cameras[rows][:, None], queries.identities[rows][:, None]
    if rule == "sysu":
        return (cameras == 3) & (gallery.cameras == 2)
    if rule == "llcm":
        return (cameras == gallery.cameras) & (identities == gallery.identities)
    return np.zeros((len(rows), len(gallery)), dtype=bool)


def _choose(rankings: list[_Ranking], queries: ImageList, gallery: ImageList) -> list[RankedList]:
    """The best, the median and the worst rankings, each kind nearest first."""
    order = sorted(rankings, key=lambda ranking: (-ranking.average_precision, ranking.query))
    middle = (len(order) - 1) // 2
    by_distance = sorted(range(len(order)), key=lambda place: abs(place - middle))
    kinds: dict[Kind, list[_Ranking]] = {
        "best": order,
        "median": [order[place] for place in by_distance],
        "worst": order[::-1],
    }
    return [
        RankedList(
            kind=kind,
            average_precision=ranking.average_precision,
            first_match=ranking.first_match,
            query=_frame(queries, ranking.query),
            frames=[
                _ranked_frame(gallery, row, similarity, int(queries.identities[ranking.query]))
                for row, similarity in zip(ranking.gallery, ranking.similarities, strict=True)
            ],
        )
        for kind, candidates in kinds.items()
        for ranking in _of_different_identities(candidates, queries)
    ]


def _of_different_identities(rankings: list[_Ranking], queries: ImageList) -> list[_Ranking]:
    """The first rankings, one of each identity."""
    first: dict[int, _Ranking] = {}
    for ranking in rankings:
        first.setdefault(int(queries.identities[ranking.query]), ranking)
    return list(first.values())[:LISTS]


def _confused(rankings: list[_Ranking], queries: ImageList, gallery: ImageList) -> list[ConfusedPair]:
    """The pairs that most queries confuse; of equally many, the most similar."""
    found: dict[tuple[int, int], list[_Ranking]] = {}
    for ranking in rankings:
        own = int(queries.identities[ranking.query])
        first = int(gallery.identities[ranking.gallery[0]])
        if first != own:
            found.setdefault((min(own, first), max(own, first)), []).append(ranking)
    pairs = []
    for identities, confused in found.items():
        example = max(confused, key=lambda ranking: float(ranking.similarities[0]))
        own = int(queries.identities[example.query])
        frame = _ranked_frame(gallery, example.gallery[0], example.similarities[0], own)
        query = _frame(queries, example.query)
        pairs.append(ConfusedPair(identities=identities, queries=len(confused), query=query, frame=frame))
    return sorted(pairs, key=lambda pair: (-pair.queries, -pair.frame.similarity))[:PAIRS]


def _frame(images: ImageList, row: int) -> Frame:
    return Frame(
        path=images.paths[row], identity=int(images.identities[row]), camera=int(images.cameras[row])
    )


def _ranked_frame(images: ImageList, row: np.int64, similarity: np.float32, identity: int) -> RankedFrame:
    frame = _frame(images, int(row))
    return RankedFrame(
        **frame.model_dump(), similarity=float(similarity), correct=frame.identity == identity
    )
