"""Generate a synthetic data set in the layout of a real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tsme.config import DatasetName
from tsme.errors import UserError
from tsme.synthetic.difficulty import VARIATIONS, Difficulty, FrameVariation
from tsme.synthetic.layouts.csv_table import CsvTableLayout
from tsme.synthetic.layouts.llcm import LlcmLayout
from tsme.synthetic.layouts.regdb import MAX_TRIALS, RegDBLayout
from tsme.synthetic.layouts.sysu import SysuLayout
from tsme.synthetic.people.person import ToneModel
from tsme.synthetic.writer import DatasetLayout, write_dataset

MIN_IDENTITIES: dict[DatasetName, int] = {"regdb": 4, "sysu": 6, "llcm": 4, "csv": 4}  # two per split


def generate(
    out: Path,
    *,
    layout: DatasetName,
    identities: int,
    images: int,
    seed: int,
    size: tuple[int, int] = (64, 128),
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    trials: int = 10,
    difficulty: Difficulty = "normal",
    tones: ToneModel = "independent",
    ground_truth: bool = False,
) -> None:
    """Write a data set of `identities` synthetic identities to the folder `out`.

    `images` is the number of images of each identity: per modality in RegDB's layout, and the mean per
    camera in the other layouts. `size` is (width, height) in pixels. `trials` is the number of RegDB's
    train/test splits; other layouts have one. `ground_truth` adds, in RegDB's layout, a folder `Truth`
    with each image as the other sensor would have recorded it. `tones` is how infrared tones are sampled:
    independently of everything visible, or from the fabric of each garment (`people/lifelike.py`).

    `progress` is called with (finished identities, all identities). `workers` is the number of processes,
    by default one per processor; it does not change the result. An identity's images depend only on the
    seed and its number, not on the number of identities. `out` appears only when it is complete.

    Raises:
        UserError: `out` exists and is not an empty folder, or an option is out of range.
    """
    _validate(layout, identities, images, trials, seed, size, workers, ground_truth)
    variation = VARIATIONS[difficulty]
    write_dataset(
        out, _make_layout(layout, identities, images, seed, trials, variation, tones, ground_truth),
        identities=identities, seed=seed, size=size, variation=variation, tone_model=tones,
        progress=progress, workers=workers,
    )  # fmt: skip


def _make_layout(
    layout: DatasetName,
    identities: int,
    images: int,
    seed: int,
    trials: int,
    variation: FrameVariation,
    tones: ToneModel,
    ground_truth: bool,
) -> DatasetLayout:
    match layout:
        case "regdb":
            return RegDBLayout(identities, images, seed, trials, variation, tones, ground_truth)
        case "sysu":
            return SysuLayout(identities, images, seed)
        case "llcm":
            return LlcmLayout(identities, images, seed)
        case "csv":
            return CsvTableLayout(identities, images, seed)


def _validate(
    layout: DatasetName,
    identities: int,
    images: int,
    trials: int,
    seed: int,
    size: tuple[int, int],
    workers: int | None,
    ground_truth: bool,
) -> None:
    """Raise UserError for the first option that is out of range."""
    if layout not in MIN_IDENTITIES:
        raise UserError(f"layout is {layout}: choose one of {', '.join(MIN_IDENTITIES)}")
    if identities < MIN_IDENTITIES[layout]:
        raise UserError(f"identities is {identities}: at least {MIN_IDENTITIES[layout]}, two per split")
    if images < 2:
        raise UserError(f"images is {images}: at least 2 per identity and camera")
    if not 1 <= trials <= MAX_TRIALS:
        raise UserError(f"trials is {trials}: 1 to {MAX_TRIALS}, as in RegDB")
    if seed < 0:
        raise UserError(f"seed is {seed}: 0 or a positive whole number")
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}: at least 1, or left out")
    if min(size) < 16:
        raise UserError(f"size is {size[0]}x{size[1]}: at least 16 pixels on both sides")
    if size[0] > 3 * size[1]:
        raise UserError(f"size is {size[0]}x{size[1]}: at most three times as wide as high")
    if ground_truth and layout != "regdb":
        raise UserError(f"ground truth: only RegDB's layout has it, not {layout}")
