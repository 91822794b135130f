"""A full examination of a RegDB folder: every list, every image, what the trials share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tsme.data.images import open_image
from tsme.data.regdb import (
    EXTENSIONS,
    TRIALS,
    Fault,
    SplitName,
    TrialLists,
    begun_trials,
    people,
    read_lists,
    scan_images,
    trial_faults,
)
from tsme.errors import UserError

_PUBLISHED_PEOPLE = 412
_PUBLISHED_SPLIT = 206
_PUBLISHED_IMAGES = 2060


@dataclass(frozen=True)
class SplitCounts:
    """People in either list of a split, and images in each."""

    people: int
    visible: int
    infrared: int


@dataclass(frozen=True)
class TrialCounts:
    """What one trial's lists hold."""

    number: int
    train: SplitCounts
    test: SplitCounts


@dataclass(frozen=True)
class ImageSizes:
    """Smallest and largest width and height in pixels, over all images."""

    min_width: int
    max_width: int
    min_height: int
    max_height: int


@dataclass(frozen=True)
class CheckReport:
    """The findings on a data set.

    `people` and `images` are counted once over all trials. `seen[i][j]` is how many test people of
    trial i + 1 are training people of trial j + 1, so how many the weights of trial j + 1 know
    already; None where either trial has no lists. `sizes` is None if no image could be decoded.
    """

    trials: tuple[TrialCounts, ...]
    people: int
    images: int
    sizes: ImageSizes | None
    seen: tuple[tuple[int | None, ...], ...]
    faults: tuple[Fault, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the data can be used: warnings are allowed, faults are not."""
        return not self.faults


def check_regdb(root: Path, progress: Callable[[int, int], None] | None = None) -> CheckReport:
    """Read every trial's lists and decode every image they name, once; report all that is wrong.

    `progress(done, total)` is called after each image. A trial that lacks some of its lists is a
    fault. Raises UserError if there is nothing to check: no such folder, no lists, no images.
    """
    trials = {number: read_lists(root, number) for number in begun_trials(root)}
    present = scan_images(root)
    faults = [fault for lists in trials.values() for fault in trial_faults(lists, present)]
    listed = {row.path for lists in trials.values() for one in lists.values() for row in one.rows}
    sizes: list[tuple[int, int]] = []
    for result in _decode(root, sorted(listed & present), progress):
        if isinstance(result, Fault):
            faults.append(result)
        else:
            sizes.append(result)
    counts = tuple(
        TrialCounts(number, _counts(lists, "train"), _counts(lists, "test"))
        for number, lists in trials.items()
    )
    everyone = set[int]().union(
        *(people(lists, "train") | people(lists, "test") for lists in trials.values())
    )
    warnings = (*_count_warnings(counts, len(everyone)), *_unlisted_warnings(present - listed))
    return CheckReport(
        trials=counts,
        people=len(everyone),
        images=len(listed),
        sizes=_range(sizes),
        seen=_seen(trials),
        faults=tuple(faults),
        warnings=warnings,
    )


def _decode(
    root: Path, files: list[str], progress: Callable[[int, int], None] | None
) -> Iterator[tuple[int, int] | Fault]:
    """Every image's (width, height), or what is wrong with it."""

    def size(file: str) -> tuple[int, int] | Fault:
        try:
            return open_image(root / file).size
        except UserError as problem:
            # A fault names its file itself.
            return Fault(file, None, str(problem).removeprefix(f"{root / file}: "))

    with ThreadPoolExecutor() as pool:
        for done, result in enumerate(pool.map(size, files), start=1):
            yield result
            if progress is not None:
                progress(done, len(files))


def _counts(lists: TrialLists, split: SplitName) -> SplitCounts:
    visible, infrared = lists[split, "visible"], lists[split, "infrared"]
    return SplitCounts(len(people(lists, split)), len(visible.rows), len(infrared.rows))


def _range(sizes: list[tuple[int, int]]) -> ImageSizes | None:
    if not sizes:
        return None
    widths, heights = zip(*sizes, strict=True)
    return ImageSizes(min(widths), max(widths), min(heights), max(heights))


def _seen(trials: dict[int, TrialLists]) -> tuple[tuple[int | None, ...], ...]:
    train = {number: people(lists, "train") for number, lists in trials.items()}
    test = {number: people(lists, "test") for number, lists in trials.items()}
    numbers = range(1, TRIALS + 1)
    return tuple(
        tuple(
            len(test[tested] & train[trained]) if tested in test and trained in train else None
            for trained in numbers
        )
        for tested in numbers
    )


def _count_warnings(counts: tuple[TrialCounts, ...], everyone: int) -> Iterator[str]:
    """Where the numbers are not those of the published data set, whose results they change."""
    if len(counts) != TRIALS:
        numbers = _join([trial.number for trial in counts])
        yield f"only trials {numbers}; the published RegDB has {TRIALS}"
    if everyone != _PUBLISHED_PEOPLE:
        yield f"{everyone} people; the published RegDB has {_PUBLISHED_PEOPLE}"
    splits = {trial.number: (trial.train, trial.test) for trial in counts}
    other = [n for n, pair in splits.items() if {s.people for s in pair} != {_PUBLISHED_SPLIT}]
    if other:
        yield f"trials {_join(other)}: not the published {_PUBLISHED_SPLIT} people in every split"
    other = [
        n
        for n, pair in splits.items()
        if {images for s in pair for images in (s.visible, s.infrared)} != {_PUBLISHED_IMAGES}
    ]
    if other:
        yield f"trials {_join(other)}: not the published {_PUBLISHED_IMAGES} images in every list"


def _unlisted_warnings(files: frozenset[str]) -> Iterator[str]:
    # Other files, such as a file browser's thumbnails, do no harm.
    images = sorted(file for file in files if file.lower().endswith(EXTENSIONS))
    if images:
        yield f"no list names {len(images)} of the images in the folders, the first {images[0]}"


def _join(trials: list[int]) -> str:
    return ", ".join(str(trial) for trial in trials)
