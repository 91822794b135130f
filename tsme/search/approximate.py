"""Approximate search by faiss: one bit per dimension in memory, candidates scored again exactly.

An inverted file over k-means clusters whose vectors are RaBitQ codes (Gao and Long, SIGMOD 2024): 400
bytes for 3072 values, and no codebooks to train. The best candidates by code are scored again with
their float16 vectors from disk, so results carry exact scores and only their selection is approximate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsme.errors import UserError
from tsme.search import exact
from tsme.search.index import ApproximateRecord, GalleryIndex
from tsme.storage.atomic import replacing, write_json

FILE = "approximate.faiss"
SEED = 0
TRAINING = 32_768  # vectors for k-means: 400 MB of 3072 values in float32
PER_CLUSTER = 40  # training vectors that a cluster needs at least (faiss asks for 39)
PROBES = 32  # clusters looked into
CANDIDATES = 200  # scored again, or 10 for each result wanted
MEASURED = 100  # queries, for the recall
TOP = 10
BATCH = 4096  # vectors added at once: 50 MB of 3072 values in float32


def build_approximate(index: GalleryIndex) -> GalleryIndex:
    """Add an approximate index, and its recall to the header. One that is there already stays.

    Raises UserError if faiss is not installed or if the gallery is too small to need it.
    """
    faiss = _faiss()
    if index.header.approximate is not None:
        return index
    training = _sample(index, TRAINING)
    clusters = min(int(4 * index.header.vectors**0.5), len(training) // PER_CLUSTER)
    if clusters < 2:
        raise UserError(
            f"{index.folder}: {index.header.vectors} vectors are too few for an approximate index; "
            "the exact search is fast"
        )
    kind = f"IVF{clusters},RaBitQ"
    structure = faiss.index_factory(index.header.dimensions, kind, faiss.METRIC_INNER_PRODUCT)
    structure.train(training)
    for first, vectors in index.blocks():
        for start in range(0, len(vectors), BATCH):
            part = vectors[start : start + BATCH].astype(np.float32)
            rows = np.arange(first + start, first + start + len(part), dtype=np.int64)
            structure.add_with_ids(part, rows)
    structure.nprobe = PROBES
    with replacing(index.folder / FILE) as temporary:
        faiss.write_index(structure, str(temporary))
    record = ApproximateRecord(
        kind=kind, probes=PROBES, recall=_recall(index, structure), top=TOP, queries=MEASURED
    )
    header = index.header.model_copy(update={"approximate": record})
    write_json(index.folder / "index.json", header.model_dump(mode="json"))
    return GalleryIndex(index.folder, header)


class ApproximateSearch:
    """The approximate index of a gallery, in memory."""

    def __init__(self, index: GalleryIndex) -> None:
        if index.header.approximate is None:
            raise UserError(
                f"{index.folder}: has no approximate index; `tsme index --approximate` adds it"
            )
        file = Path(index.folder / FILE)
        try:
            self.structure = _faiss().read_index(str(file))
        except RuntimeError as error:
            raise UserError(f"{file}: damaged ({str(error).splitlines()[0]}); build it again") from None
        self.index = index

    def search(
        self, queries: NDArray[np.float32], top: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As `tsme.search.exact.search`; a row of -1 stands where too few candidates were found."""
        return _search(self.index, self.structure, queries, top)


def _search(
    index: GalleryIndex, structure: Any, queries: NDArray[np.float32], top: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The best of faiss's candidates by their exact dot products."""
    _, candidates = structure.search(queries, max(CANDIDATES, 10 * top))
    scores = np.full((len(queries), top), -np.inf, dtype=np.float32)
    rows = np.full((len(queries), top), -1, dtype=np.int64)
    for query, found in enumerate(candidates):
        found = np.sort(found[found >= 0])
        vectors = index.vectors(found).astype(np.float16)
        best, places = exact.search([(0, vectors)], queries[[query]], top)
        scores[query, : best.shape[1]], rows[query, : best.shape[1]] = best[0], found[places[0]]
    return scores, rows


def _recall(index: GalleryIndex, structure: Any) -> float:
    """The share of the exact first TOP that is found, for MEASURED gallery images without themselves."""
    queries = _sample(index, MEASURED)
    exactly, approximately = (
        rows[:, 1:]  # the first is the query itself, or its duplicate
        for _, rows in (
            exact.search(index.blocks(), queries, TOP + 1),
            _search(index, structure, queries, TOP + 1),
        )
    )
    shares = [np.isin(e, a).mean() for e, a in zip(exactly, approximately, strict=True)]
    return float(np.mean(shares))


def _sample(index: GalleryIndex, count: int) -> NDArray[np.float32]:
    """At most `count` vectors, drawn from all shards alike."""
    share = min(1.0, count / index.header.vectors)
    random = np.random.default_rng(SEED)
    parts = []
    for _, vectors in index.blocks():
        chosen = np.sort(random.permutation(len(vectors))[: round(share * len(vectors))])
        parts.append(vectors[chosen].astype(np.float32))
    return np.concatenate(parts)[:count]


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            "the approximate index requires faiss; install it: pip install 'tsme[approximate]'"
        ) from error
    return faiss
