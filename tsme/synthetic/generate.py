"""Writes a synthetic data set in the layout of a real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tsme.config import DatasetName
from tsme.errors import UserError
from tsme.synthetic.difficulty import LEVELS, Difficulty, Level
from tsme.synthetic.layouts.csv_table import CsvTableLayout
from tsme.synthetic.layouts.llcm import LlcmLayout
from tsme.synthetic.layouts.regdb import TRIALS, RegDBLayout
from tsme.synthetic.layouts.sysu import SysuLayout
from tsme.synthetic.writer import Layout, draw

LEAST: dict[DatasetName, int] = {"regdb": 4, "sysu": 6, "llcm": 4, "csv": 4}  # two people in each split


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
    difficulty: Level = "normal",
    ground_truth: bool = False,
) -> None:
    """Write a data set of `identities` people to the folder `out`.

    `images` is the mean number of pictures of a person by each camera that sees them; in RegDB's layout
    the exact number of each modality. `size` is (width, height); `progress` is called with (identities
    done, identities in all); `workers` is the number of processes (by default one per processor) and
    changes nothing in the result. `trials` is the number of RegDB's divisions; other layouts have one.
    With `truth`, in RegDB's layout, a folder of that name has every moment as the other sensor sees it.
    A person depends on the seed and the identity number alone, and no picture on how many people there
    are. `out` appears only once it is complete.

    Raises:
        UserError: `out` exists and is not an empty folder, or a number is out of range.
    """
    _check(layout, identities, images, trials, seed, size, workers)
    if ground_truth and layout != "regdb":
        raise UserError(f"truth: only RegDB's layout has it, not {layout}")
    level = LEVELS[difficulty]
    kind = _layout(layout, identities, images, seed, trials, level, ground_truth)
    draw(
        out, kind, identities=identities, seed=seed, size=size, difficulty=level, progress=progress,
        workers=workers,
    )  # fmt: skip


def generate_regdb(
    out: Path,
    *,
    identities: int = 412,
    images: int = 10,
    trials: int = 10,
    seed: int = 0,
    size: tuple[int, int] = (64, 128),
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    difficulty: Level = "normal",
    ground_truth: bool = False,
) -> None:
    """`generate` in RegDB's layout, by default as large as RegDB."""
    generate(
        out, layout="regdb", identities=identities, images=images, trials=trials, seed=seed, size=size,
        progress=progress, workers=workers, difficulty=difficulty, ground_truth=ground_truth,
    )  # fmt: skip


def _layout(
    layout: DatasetName,
    identities: int,
    images: int,
    seed: int,
    trials: int,
    difficulty: Difficulty,
    ground_truth: bool,
) -> Layout:
    match layout:
        case "regdb":
            return RegDBLayout(identities, images, seed, trials, difficulty, ground_truth)
        case "sysu":
            return SysuLayout(identities, images, seed)
        case "llcm":
            return LlcmLayout(identities, images, seed)
        case "csv":
            return CsvTableLayout(identities, images, seed)


def _check(
    layout: DatasetName,
    identities: int,
    images: int,
    trials: int,
    seed: int,
    size: tuple[int, int],
    workers: int | None,
) -> None:
    """Name the first value that is out of range."""
    if layout not in LEAST:
        raise UserError(f"layout is {layout}: choose one of {', '.join(LEAST)}")
    if identities < LEAST[layout]:
        raise UserError(
            f"identities is {identities}: ask for at least {LEAST[layout]}, two in each split"
        )
    if images < 2:
        raise UserError(f"images is {images}: ask for at least 2 of each person by each camera")
    if not 1 <= trials <= TRIALS:
        raise UserError(f"trials is {trials}: ask for 1 to {TRIALS}, RegDB has no more")
    if seed < 0:
        raise UserError(f"seed is {seed}: give 0 or a positive whole number")
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}: give at least 1, or leave it out")
    if min(size) < 16:
        raise UserError(f"size is {size[0]}x{size[1]}: make both sides at least 16 pixels")
    if size[0] > 3 * size[1]:
        raise UserError(f"size is {size[0]}x{size[1]}: make it at most three times as wide as high")
