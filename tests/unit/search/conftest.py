"""A gallery of noise images, a tiny model, and indices of generated vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tsme.models.checkpoint import save_model
from tsme.search.build import EmbeddedImage, complete_index, write_shard
from tsme.search.embedder import ImageEmbedder, ModelIdentity
from tsme.search.gallery import GalleryImage
from tsme.search.index import GalleryIndex, IndexHeader

CPU = torch.device("cpu")
IDENTITY = ModelIdentity(key="k", trial=1, sha256="0" * 64)


@pytest.fixture
def model_file(make_model, tmp_path: Path) -> Path:
    save_model(tmp_path / "trial01-abc.safetensors", make_model())
    return tmp_path / "trial01-abc.safetensors"


@pytest.fixture
def embedder(model_file: Path) -> ImageEmbedder:
    return ImageEmbedder(model_file, CPU)


@pytest.fixture
def gallery_folder(tmp_path: Path) -> Path:
    """a/0.png to a/2.png in colour, b/3.png to b/5.png with equal channels."""
    random = np.random.default_rng(0)
    for number in range(6):
        shape = (32, 16, 3) if number < 3 else (32, 16)
        file = tmp_path / "gallery" / ("a" if number < 3 else "b") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(file)
    return tmp_path / "gallery"


@pytest.fixture
def make_index(tmp_path: Path) -> Callable[..., GalleryIndex]:
    """make_index(vectors, shard_images): an index of these vectors (n, d), images 0.png, 1.png, ..."""

    def make(vectors: np.ndarray, shard_images: int) -> GalleryIndex:
        folder = tmp_path / "index"
        header = IndexHeader(
            model=IDENTITY,
            dimensions=vectors.shape[1],
            root=tmp_path,
            gallery="g",
            images=len(vectors),
            shard_images=shard_images,
        )
        for number in range(header.shards):
            start = number * shard_images
            rows = (
                EmbeddedImage(GalleryImage(f"{row}.png", "x", None), vectors[row], "visible", "")
                for row in range(start, min(start + shard_images, len(vectors)))
            )
            write_shard(folder, number, rows, vectors.shape[1])
        return complete_index(folder, header)

    return make


@pytest.fixture
def unit_vectors() -> Callable[..., np.ndarray]:
    """unit_vectors(count, dimensions, seed): float16 (n, d) of length 1."""

    def make(count: int, dimensions: int, seed: int = 0) -> np.ndarray:
        vectors = np.random.default_rng(seed).standard_normal((count, dimensions), dtype=np.float32)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)

    return make
