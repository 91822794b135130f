"""The folder of a finished run, for tests of its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.run_folder import write_run
from tsme.config import Config, ImageConfig
from tsme.data.image_cache import ImageCache
from tsme.data.types import MODALITIES, Dataset, ImageList, Split, Trial

HOSTILE = "<script>alert('$x$')</script>"


def dataset(root: Path, trials: int, identities: int, images: int) -> Dataset:
    """Noise images whose file names would be scripts if the page did not escape them."""
    random, lists = np.random.default_rng(0), {}
    for modality in MODALITIES:
        (root / modality).mkdir(parents=True)
        names = [f"{modality}/{HOSTILE.replace('/', ':')}{n}.png" for n in range(identities * images)]
        for name in names:
            pixels = random.integers(0, 256, (32, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name)
        labels = np.repeat(np.arange(1, identities + 1), images)
        lists[modality] = ImageList(modality, tuple(names), labels, np.ones_like(labels))
    split = Split(**lists)
    return Dataset("regdb", root, {n: Trial(n, split, split) for n in range(1, trials + 1)})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Folder and results of a run of three trials."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSME_CACHE", str(folder / "cache"))
        config = Config(image=ImageConfig(height=32, width=16))
        images = ImageCache(dataset(folder / "data", 3, 9, 4), "f", 32, 16)
        results = write_run(folder / "out", config, images, [1, 2, 3])
    return folder / "out", results
