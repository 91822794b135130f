"""Tiny data sets: RegDB with two trials, five identities and two images of each per modality; LLCM."""

from pathlib import Path

import pytest
from PIL import Image

from tests.unit.data.datasets import llcm_cases

# Trial -> training and test identities, drawn so that the trials' overlaps are not symmetric.
IDENTITIES = {1: ([285, 3, 12], [8, 30]), 2: ([3, 8], [12, 285, 30])}
FOLDERS = {"visible": ("Visible", "v"), "thermal": ("Thermal", "t")}


def image_paths(modality: str, identity: int) -> list[str]:
    folder, letter = FOLDERS[modality]
    return [f"{folder}/{identity}/male_back_{letter}_{n:05d}_{identity}.bmp" for n in (1, 2)]


@pytest.fixture
def regdb(tmp_path: Path) -> Path:
    root = tmp_path / "RegDB"
    (root / "idx").mkdir(parents=True)
    for modality in FOLDERS:
        for identity in (3, 8, 12, 30, 285):
            for number, path in enumerate(image_paths(modality, identity)):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                colour = (identity % 256, 100 * number, 50 if modality == "visible" else 200)
                Image.new("RGB", (6, 12), colour).save(root / path)
        for trial, splits in IDENTITIES.items():
            for split, identities in zip(("train", "test"), splits, strict=True):
                lines = [
                    f"{path} {label}\n"
                    for label, identity in enumerate(identities)
                    for path in image_paths(modality, identity)
                ]
                (root / f"idx/{split}_{modality}_{trial}.txt").write_text("".join(lines))
    return root


@pytest.fixture
def llcm(tmp_path: Path) -> Path:
    llcm_cases.place(tmp_path / "LLCM")
    return tmp_path / "LLCM"
