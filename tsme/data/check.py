"""A full check of a data set: its lists and folders, every image, and what its trials share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tsme.data.images import open_image
from tsme.data.types import MODALITIES, Dataset, Fault, Modality, Split, Trial
from tsme.errors import UserError


@dataclass(frozen=True)
class SplitCounts:
    """Identities with images in either modality, and images in each."""

    identities: int
    visible: int
    infrared: int


@dataclass(frozen=True)
class TrialCounts:
    """The counts of one trial."""

    number: int
    train: SplitCounts
    test: SplitCounts


@dataclass(frozen=True)
class CameraCounts:
    """Identities and images of one camera in one modality, over all trials."""

    camera: int
    modality: Modality
    identities: int
    images: int


@dataclass(frozen=True)
class ImageSizes:
    """Smallest and largest width and height in pixels, over all images."""

    min_width: int
    max_width: int
    min_height: int
    max_height: int


@dataclass(frozen=True)
class CheckReport:
    """The result of a check.

    `identities` and `images` are counted once over all trials. `seen[tested, trained]` is the number of
    test identities of one trial that are training identities of the other. `sizes` is None if no image
    could be decoded.
    """

    trials: tuple[TrialCounts, ...]
    cameras: tuple[CameraCounts, ...]
    identities: int
    images: int
    sizes: ImageSizes | None
    seen: dict[tuple[int, int], int]
    faults: tuple[Fault, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the data can be used: there are no faults, though there may be warnings."""
        return not self.faults


class _Image(NamedTuple):
    identity: int
    camera: int
    modality: Modality


def check(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> CheckReport:
    """Decode every image of a data set once; report counts and all faults.

    `progress(done, total)` is called after each image.
    """
    trials = list(dataset.trials.values())
    images = _images_of(trials)
    faults = list(dataset.faults)
    sizes: list[tuple[int, int]] = []
    for result in _decode(dataset.root, sorted(images), progress):
        if isinstance(result, Fault):
            faults.append(result)
        else:
            sizes.append(result)
    return CheckReport(
        trials=tuple(TrialCounts(t.number, _counts(t.train), _counts(t.test)) for t in trials),
        cameras=_cameras(images.values()),
        identities=len({image.identity for image in images.values()}),
        images=len(images),
        sizes=_range(sizes),
        seen=_seen(trials),
        faults=tuple(faults),
        warnings=dataset.warnings,
    )


def _images_of(trials: list[Trial]) -> dict[str, _Image]:
    """Every image of the data set, by path."""
    return {
        path: _Image(int(identity), int(camera), modality)
        for trial in trials
        for split in (trial.train, trial.test)
        for modality in MODALITIES
        for path, identity, camera in zip(
            split[modality].paths, split[modality].identities, split[modality].cameras, strict=True
        )
    }


def _cameras(images: Iterable[_Image]) -> tuple[CameraCounts, ...]:
    identities: dict[tuple[int, Modality], list[int]] = {}
    for image in images:
        identities.setdefault((image.camera, image.modality), []).append(image.identity)
    return tuple(
        CameraCounts(camera, modality, len(set(found)), len(found))
        for (camera, modality), found in sorted(identities.items())
    )


def _decode(
    root: Path, files: list[str], progress: Callable[[int, int], None] | None
) -> Iterator[tuple[int, int] | Fault]:
    """The (width, height) of every image, or why it cannot be decoded."""

    def size(file: str) -> tuple[int, int] | Fault:
        try:
            return open_image(root / file).size
        except UserError as error:
            # A fault names its file itself.
            return Fault(file, None, str(error).removeprefix(f"{root / file}: "))

    with ThreadPoolExecutor() as pool:
        for done, result in enumerate(pool.map(size, files), start=1):
            yield result
            if progress is not None:
                progress(done, len(files))


def _counts(split: Split) -> SplitCounts:
    return SplitCounts(len(split.all_identities), len(split.visible), len(split.infrared))


def _range(sizes: list[tuple[int, int]]) -> ImageSizes | None:
    if not sizes:
        return None
    widths, heights = zip(*sizes, strict=True)
    return ImageSizes(min(widths), max(widths), min(heights), max(heights))


def _seen(trials: list[Trial]) -> dict[tuple[int, int], int]:
    return {
        (tested.number, trained.number): len(tested.test.all_identities & trained.train.all_identities)
        for tested in trials
        for trained in trials
    }
