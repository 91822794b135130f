"""Opening the training images of a trial again: decoded ones are mapped, not decoded a second time.

The reference decodes and resizes every image as it starts, as published code does.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.benchmarks.measure import Benchmark, Disagreement, Goal, Work
from tests.benchmarks.setting import Setting
from tsme.data.datasets.regdb import read_regdb
from tsme.data.datasets.regdb_lists import FOLDERS, SPLITS, list_files
from tsme.data.image_cache import ImageCache
from tsme.data.types import MODALITIES, ImageList, Modality

IMAGES = 10  # of a person in either modality, as RegDB has
SOURCE = (128, 64)  # height and width of RegDB's images


def write_regdb(root: Path, people: int) -> None:
    """A folder in RegDB's layout: one trial, `people` each in its halves, images of noise."""
    random = np.random.default_rng(0)
    (root / "idx").mkdir(parents=True)
    for (split, modality), file in list_files(1).items():
        lines = []
        for label in range(people):
            person = SPLITS.index(split) * people + label + 1
            (root / FOLDERS[modality] / str(person)).mkdir(parents=True)
            for shot in range(IMAGES):
                path = f"{FOLDERS[modality]}/{person}/{shot}_{person}.bmp"
                noise = random.integers(0, 256, (*SOURCE, 3), dtype=np.uint8)
                Image.fromarray(noise).save(root / path)
                lines.append(f"{path} {label}\n")
        (root / file).write_text("".join(lines))


def decode(root: Path, images: ImageList, height: int, width: int) -> NDArray[np.uint8]:
    """Every image of a list (n, H, W, 3), read from its file."""
    arrays = []
    for path in images.paths:
        with Image.open(root / path) as image:
            resized = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
            arrays.append(np.array(resized))
    return np.stack(arrays)


def prepare(setting: Setting) -> Work:
    """A trial of 206 + 206 people, each with 10 + 10 images."""
    folder = TemporaryDirectory(prefix="tsme-benchmark-")  # deleted with the functions that use it
    root, size = Path(folder.name) / "regdb", setting.config().image
    people = setting.of(206, 3)
    write_regdb(root, people)
    dataset = read_regdb(root)
    train = dataset.trial(1).train

    def reference() -> dict[Modality, NDArray[np.uint8]]:
        return {m: decode(root, train[m], size.height, size.width) for m in MODALITIES}

    def mine() -> dict[Modality, NDArray[np.uint8]]:
        with patch.dict(os.environ, TSME_CACHE=str(Path(folder.name) / "cache")):
            store = ImageCache(dataset, "benchmark", size.height, size.width)
            return {m: images.numpy() for m, images in store.split(train).items()}

    def check() -> str:
        with patch.object(Image, "open", wraps=Image.open) as opened:
            mine()
            images = 2 * len(SPLITS) * people * IMAGES
            if opened.call_count != images:
                raise Disagreement(f"{opened.call_count} images decoded at first, not {images}")
            again = mine()
            if opened.call_count != images:
                raise Disagreement(f"{opened.call_count - images} images decoded a second time")
        for modality, pixels in reference().items():
            if not np.array_equal(again[modality], pixels.transpose(0, 3, 1, 2)):
                raise Disagreement(f"{modality} pixels differ")
        return "the same pixels; every image decoded once, none the second time"

    return Work(reference, mine, check)


BENCHMARKS = [Benchmark("opening/second-time", prepare, Goal(0.050, of="seconds"))]
