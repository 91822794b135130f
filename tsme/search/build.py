"""Building an index: shard by shard, so that an interrupted build goes on and memory stays bounded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsme.data.images import open_image
from tsme.data.types import MODALITIES, Modality
from tsme.errors import UserError
from tsme.search.embedder import ImageEmbedder, told_modality
from tsme.search.gallery import Gallery, GalleryImage
from tsme.search.index import GalleryIndex, IndexHeader, read_header, shard_files
from tsme.storage.atomic import read_json, replacing, write_json

SHARD_IMAGES = 8192  # 50 MB of 3072 values
BATCH = 16  # images decoded and embedded at once: the published network then needs about 1 GB

Progress = Callable[[int, int], None]
Vector = NDArray[np.float16]  # (d,)


def build_index(
    folder: Path,
    gallery: Gallery,
    embedder: ImageEmbedder,
    *,
    progress: Progress | None = None,
    shard_images: int = SHARD_IMAGES,
) -> GalleryIndex:
    """Embed the gallery into `folder`, or complete what an interrupted build has left there.

    `progress(done, total)` counts images. An unreadable image is left out and listed in
    `unreadable.jsonl`. An index that is complete is returned as it is.
    Raises UserError if `folder` holds something else, or if no image can be read.
    """
    header = _header(folder, gallery, embedder, shard_images)
    if header.complete:
        return GalleryIndex(folder, header)
    write_json(folder / "index.json", header.model_dump(mode="json"))
    for number in range(header.shards):
        start = number * shard_images
        images = gallery.images[start : start + shard_images]
        if shard_files(folder, number)[0].exists():
            done = len(images)
            if progress is not None:
                progress(start + done, header.images)
            continue
        rows = embed_images(gallery.root, images, embedder)
        write_shard(folder, number, _counted(rows, progress, start, header.images), header.dimensions)
    return complete_index(folder, header, told=sum(image.modality is None for image in gallery.images))


def _header(folder: Path, gallery: Gallery, embedder: ImageEmbedder, shard_images: int) -> IndexHeader:
    """The header in `folder` if it is of this gallery and model, else a new one for an empty folder."""
    new = IndexHeader(
        model=embedder.identity,
        dimensions=embedder.dimensions,
        root=gallery.root,
        gallery=gallery.fingerprint(),
        images=len(gallery.images),
        shard_images=shard_images,
    )
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return new
    found = read_header(folder)
    for name, what in (("model", "another model"), ("gallery", "other images, or they have changed")):
        if getattr(found, name) != getattr(new, name):
            raise UserError(f"{folder}: an index of {what}; remove it, or name another folder")
    return found


class EmbeddedImage(NamedTuple):
    """An image of the gallery: its vector (d,) and modality, or the `reason` that it cannot be read."""

    image: GalleryImage
    vector: Vector | None
    modality: Modality | None
    reason: str


def embed_images(
    root: Path, images: Sequence[GalleryImage], embedder: ImageEmbedder
) -> Iterator[EmbeddedImage]:
    """Read and embed images in their order."""
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(images), BATCH):
            batch = images[first : first + BATCH]
            yield from _embed_batch(
                batch, list(pool.map(partial(_read, root, embedder), batch)), embedder
            )


def _read(root: Path, embedder: ImageEmbedder, image: GalleryImage) -> NDArray[np.uint8] | UserError:
    try:
        return embedder.pixels(open_image(root / image.path))
    except UserError as error:
        return error


def _embed_batch(
    images: Sequence[GalleryImage],
    read: Sequence[NDArray[np.uint8] | UserError],
    embedder: ImageEmbedder,
) -> Iterator[EmbeddedImage]:
    pixels = {k: x for k, x in enumerate(read) if not isinstance(x, UserError)}
    modalities = {k: images[k].modality or told_modality(x) for k, x in pixels.items()}
    vectors: dict[int, Vector] = {}
    for modality in MODALITIES:
        places = [k for k in pixels if modalities[k] == modality]
        if places:
            embedded = embedder.embed(np.stack([pixels[k] for k in places]), modality)
            vectors.update(zip(places, embedded.astype(np.float16), strict=True))
    for k, image in enumerate(images):
        reason = str(read[k]) if k not in vectors else ""
        yield EmbeddedImage(image, vectors.get(k), modalities.get(k), reason)


def _counted(
    rows: Iterator[EmbeddedImage], progress: Progress | None, start: int, total: int
) -> Iterator[EmbeddedImage]:
    for done, row in enumerate(rows, start + 1):
        yield row
        if progress is not None:
            progress(done, total)


def write_shard(folder: Path, number: int, rows: Iterable[EmbeddedImage], dimensions: int) -> None:
    """Write a shard's two files; the .npy last, since its existence completes the shard."""
    vectors: list[Vector] = []
    images: list[tuple[str, str, Modality | None]] = []
    unreadable: list[tuple[str, str]] = []
    for image, vector, modality, reason in rows:
        if vector is None:
            unreadable.append((image.path, reason))
        else:
            vectors.append(vector)
            images.append((image.path, image.label, modality))
    file, listing = shard_files(folder, number)
    write_json(listing, {"images": images, "unreadable": unreadable})
    with replacing(file) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.array(vectors, dtype=np.float16).reshape(-1, dimensions))


def complete_index(folder: Path, header: IndexHeader, *, told: int = 0) -> GalleryIndex:
    """Count what the shards hold, list unreadable images, and mark the index as complete.

    Raises UserError if no image could be read.
    """
    modalities: Counter[Modality] = Counter()
    unreadable: list[tuple[str, str]] = []
    for _, listing in GalleryIndex(folder, header).shard_files():
        shard = read_json(listing)
        modalities.update(modality for _, _, modality in shard["images"])
        unreadable += shard["unreadable"]
    if not modalities:
        raise UserError(f"none of the {header.images} images can be read; the first: {unreadable[0][1]}")
    with replacing(folder / "unreadable.jsonl") as temporary, temporary.open("w") as stream:
        for path, reason in unreadable:
            stream.write(json.dumps({"path": path, "reason": reason}, ensure_ascii=False) + "\n")
    counts = {
        "vectors": modalities.total(),
        "unreadable": len(unreadable),
        "modalities": dict(modalities),
        "told": told,
        "complete": True,
    }
    complete = header.model_copy(update=counts)
    write_json(folder / "index.json", complete.model_dump(mode="json"))
    return GalleryIndex(folder, complete)
