"""The folder of a gallery index, as it lies on disk.

    index.json          the header: model, gallery, counts (`IndexHeader`)
    shards/00000.npy    float16 (n, d) unit vectors of the readable images of a shard, in gallery order
    shards/00000.json   {"images": [[path, label, modality], ...], "unreadable": [[path, reason], ...]}
    unreadable.jsonl    the unreadable images of all shards, one JSON object a line
    approximate.faiss   optional, see `tsme.search.approximate`

A shard is complete once its .npy exists, so an interrupted build continues at the next shard. The row
of a vector is (number of its shard) * `shard_images` + its place in the shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tsme.data.types import Modality
from tsme.errors import UserError
from tsme.search.embedder import ModelIdentity
from tsme.storage.atomic import read_json

Vectors = NDArray[np.float16]


class IndexedImage(NamedTuple):
    """An image of the index; `path` is relative to the gallery's root unless it is absolute."""

    path: str
    label: str
    modality: Modality


class ApproximateRecord(BaseModel):
    """How well the approximate index finds what the exact search finds, measured when it was built.

    `recall` is the share of the exact search's first `top` that is found, over `queries` gallery images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    probes: int
    recall: float
    top: int
    queries: int


class IndexHeader(BaseModel):
    """What an index holds. Counts are final once it is `complete`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["tsme-index-1"] = "tsme-index-1"
    model: ModelIdentity
    dimensions: int = Field(ge=1)
    root: Path
    gallery: str  # the fingerprint of the list of images and their files
    images: int = Field(ge=1)
    shard_images: int = Field(ge=1)
    complete: bool = False
    vectors: int = 0
    unreadable: int = 0
    modalities: dict[Modality, int] = {}
    told: int = 0  # images that had no modality given
    approximate: ApproximateRecord | None = None

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-self.images // self.shard_images)


@dataclass(frozen=True)
class GalleryIndex:
    """An index on disk. Vectors are memory-mapped a shard at a time, so they need not fit in memory."""

    folder: Path
    header: IndexHeader

    @classmethod
    def open(cls, folder: Path) -> GalleryIndex:
        """Read an index's header. Raises UserError if there is none or the index is not complete."""
        header = read_header(folder)
        if not header.complete:
            raise UserError(f"{folder}: the index is not complete; the command that builds it goes on")
        return cls(folder, header)

    def require_model(self, model: ModelIdentity) -> None:
        """Raise UserError unless the vectors were made by this model: others do not compare."""
        if self.header.model.sha256 != model.sha256:
            theirs = self.header.model
            raise UserError(
                f"{self.folder}: the index is of model {theirs.key} (trial {theirs.trial}), the query's "
                f"is {model.key} (trial {model.trial}); use that model, or index the gallery again"
            )

    def shard_files(self) -> Iterator[tuple[Path, Path]]:
        """The .npy and the .json file of every shard, in order."""
        for number in range(self.header.shards):
            yield shard_files(self.folder, number)

    def blocks(self) -> Iterator[tuple[int, Vectors]]:
        """The row of the first vector, and the vectors (n, d), of one shard after the other."""
        for number, (file, _) in enumerate(self.shard_files()):
            yield number * self.header.shard_images, load_vectors(file)

    def vectors(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors (n, d) at these rows."""
        wanted = np.asarray(rows, dtype=np.int64)
        found = np.empty((len(wanted), self.header.dimensions), dtype=np.float32)
        shards, places = np.divmod(wanted, self.header.shard_images)
        for shard in np.unique(shards):
            here = shards == shard
            found[here] = load_vectors(shard_files(self.folder, int(shard))[0])[places[here]]
        return found

    def image(self, row: int) -> IndexedImage:
        """The image at a row. Raises IndexError if there is none."""
        shard, place = divmod(row, self.header.shard_images)
        if not 0 <= shard < self.header.shards:
            raise IndexError(row)
        return _shard_images(shard_files(self.folder, shard)[1])[place]

    def file(self, image: IndexedImage) -> Path:
        """The image's file."""
        return self.header.root / image.path


def shard_files(folder: Path, number: int) -> tuple[Path, Path]:
    """The .npy and the .json file of a shard."""
    name = folder / "shards" / f"{number:05d}"
    return name.with_suffix(".npy"), name.with_suffix(".json")


def read_header(folder: Path) -> IndexHeader:
    """The content of index.json. Raises UserError if it is missing or damaged."""
    file = folder / "index.json"
    if not file.is_file():
        raise UserError(f"{folder}: not an index (it has no index.json); `tsme index` makes one")
    try:
        return IndexHeader.model_validate(read_json(file))
    except ValidationError as error:
        raise UserError(f"{file}: not an index of this version ({_first(error)})") from None


def load_vectors(file: Path) -> Vectors:
    """The vectors (n, d) of a shard, memory-mapped. Raises UserError if the file is damaged."""
    try:
        # Copy-on-write: torch requires writable memory, and the file must not change.
        vectors: Any = np.load(file, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{file}: damaged ({error}); remove it and build the index again") from None
    if vectors.ndim != 2 or vectors.dtype != np.float16:
        raise UserError(f"{file}: not float16 vectors; remove it and build the index again")
    return vectors


@lru_cache(maxsize=8)
def _shard_images(file: Path) -> list[IndexedImage]:
    return [IndexedImage(*entry) for entry in read_json(file)["images"]]


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
