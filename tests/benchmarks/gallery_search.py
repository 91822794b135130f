"""Searches of galleries of 10^4 to 10^6 generated vectors: a plain loop, faiss, and ours.

Vectors are like embeddings: ten images of each identity, around a centre that depends on 64 numbers.
They lie on disk, as in an index; queries come one at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.measure import Benchmark, Work, broadcast
from tests.benchmarks.setting import Setting
from tsme.data.types import Modality
from tsme.search import exact
from tsme.search.approximate import ApproximateSearch, build_approximate
from tsme.search.build import SHARD_IMAGES, EmbeddedImage, complete_index, write_shard
from tsme.search.embedder import ModelIdentity
from tsme.search.gallery import GalleryImage
from tsme.search.index import GalleryIndex, IndexHeader

SIZES = (10_000, 100_000, 1_000_000)
IMAGES, LATENT, NOISE = 10, 64, 1.0  # images of an identity; numbers that make a centre; spread
QUERIES, TOP = 4, 10
LARGEST_FLAT = 100_000  # above, faiss's flat index holds float16: float32 would be 12 GB
TOLERANCE = 1e-4
VISIBLE: Modality = "visible"
FOLDERS: list[TemporaryDirectory[str]] = []  # deleted when the process ends

Search = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # a query (d,) -> its best scores (k,)


def vectors_of(identities: NDArray[np.int64], width: int, seed: int) -> NDArray[np.float16]:
    """Unit vectors (n, width) of one image of each of these identities."""
    projection = np.random.default_rng(0).standard_normal((LATENT, width), dtype=np.float32)
    random = np.random.default_rng([1, seed])
    each, places = np.unique(identities, return_inverse=True)
    latent = np.stack([np.random.default_rng([2, i]).standard_normal(LATENT) for i in each])
    vectors = (latent.astype(np.float32) @ projection / LATENT**0.5)[places]
    vectors += NOISE * random.standard_normal(vectors.shape, dtype=np.float32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


@cache
def gallery(count: int, width: int) -> GalleryIndex:
    """An index of `count` vectors in a temporary folder."""
    FOLDERS.append(TemporaryDirectory(prefix="tsme-search-"))
    folder = Path(FOLDERS[-1].name)
    header = IndexHeader(
        model=ModelIdentity(key="generated", trial=1, sha256="0"),
        dimensions=width,
        root=folder,
        gallery="generated",
        images=count,
        shard_images=SHARD_IMAGES,
    )
    for shard in range(header.shards):
        rows = np.arange(shard * SHARD_IMAGES, min(count, (shard + 1) * SHARD_IMAGES))
        write_shard(
            folder,
            shard,
            (
                EmbeddedImage(GalleryImage(f"{row}.png", "", VISIBLE), vector, VISIBLE, "")
                for row, vector in zip(rows, vectors_of(rows // IMAGES, width, shard), strict=True)
            ),
            width,
        )
    return complete_index(folder, header)


def plain_loop(index: GalleryIndex) -> Search:
    """Convert, multiply and sort, a shard at a time."""

    def search(query: NDArray[np.float32]) -> NDArray[np.float32]:
        scores = np.concatenate([block.astype(np.float32) @ query for _, block in index.blocks()])
        return scores[np.argsort(-scores, kind="stable")[:TOP]]

    return search


def faiss_flat(index: GalleryIndex) -> Search:
    """All vectors in memory, in float32 if they fit."""
    import faiss

    width, half = index.header.dimensions, index.header.vectors > LARGEST_FLAT
    kind = faiss.ScalarQuantizer.QT_fp16
    flat = (
        faiss.IndexScalarQuantizer(width, kind, faiss.METRIC_INNER_PRODUCT)
        if half
        else faiss.IndexFlatIP(width)
    )
    faiss.omp_set_num_threads(1)
    for _, block in index.blocks():
        flat.add(block.astype(np.float32))
    return lambda query: flat.search(query[None], TOP)[0][0]


def ours(index: GalleryIndex) -> Search:
    """`tsme.search.exact`."""
    return lambda query: exact.search(index.blocks(), query[None], TOP)[0][0]


def compare(setting: Setting, *, size: int, reference: Callable[[GalleryIndex], Search]) -> Work:
    """The exact search against another one."""
    index, queries = _prepared(setting, size)
    theirs, mine = (partial(_each, made(index), queries) for made in (reference, ours))

    def check() -> str:
        broadcast("scores", mine(), theirs(), TOLERANCE)
        return f"scores of the first {TOP} of {QUERIES} queries within {TOLERANCE:g}"

    return Work(theirs, mine, check)


def approximate(setting: Setting, *, size: int) -> Work:
    """The approximate search against the exact one."""
    index, queries = _prepared(setting, size)
    start = time.process_time()
    index = build_approximate(index)
    seconds, record = time.process_time() - start, index.header.approximate
    assert record is not None
    search = ApproximateSearch(index).search
    return Work(
        partial(_each, ours(index), queries),
        partial(_each, lambda query: search(query[None], TOP)[0][0], queries),
        lambda: f"recall {record.recall:.3f} of the first {TOP}; {record.kind} built in {seconds:.0f} s",
    )


def _prepared(setting: Setting, size: int) -> tuple[GalleryIndex, NDArray[np.float32]]:
    count, width = setting.of(size, 300 + size // 10_000), setting.of(3072, 32)
    wanted = np.random.default_rng(3).integers(0, count // IMAGES, QUERIES)
    return gallery(count, width), vectors_of(wanted, width, 2**31).astype(np.float32)


def _each(search: Search, queries: NDArray[np.float32]) -> NDArray[Any]:
    return np.stack([search(query) for query in queries])


BENCHMARKS = [
    benchmark
    for size in SIZES
    for benchmark in (
        Benchmark(f"search/{size}-plain-loop", partial(compare, size=size, reference=plain_loop)),
        Benchmark(f"search/{size}-faiss-flat", partial(compare, size=size, reference=faiss_flat)),
        Benchmark(f"search/{size}-approximate", partial(approximate, size=size)),
    )
]
