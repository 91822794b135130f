"""A full examination of a data set: its lists and folders, every image, what its trials share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tsme.data.images import open_image
from tsme.data.types import MODALITIES, Dataset, Fault, Modality, Split, Trial
from tsme.errors import UserError


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
class CameraCounts:
    """People and images of one camera in one modality, over all trials."""

    camera: int
    modality: Modality
    people: int
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
    """The findings on a data set.

    `people` and `images` are counted once over all trials. `seen[tested, trained]` is how many test
    people of one trial are training identities of the other, so how many its weights know already.
    `sizes` is None if no image could be decoded.
    """

    trials: tuple[TrialCounts, ...]
    cameras: tuple[CameraCounts, ...]
    people: int
    images: int
    sizes: ImageSizes | None
    seen: dict[tuple[int, int], int]
    faults: tuple[Fault, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the data can be used: warnings are allowed, faults are not."""
        return not self.faults


def check(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> CheckReport:
    """Read all lists and folders and decode every image they name, once; report all that is wrong.

    `progress(done, total)` is called after each image. Raises UserError if there is nothing to check.
    """
    findings = dataset.examine()
    faults = list(findings.faults)
    listed = _listed(findings.trials)
    # A file that is not there is among the findings already.
    present = [path for path in sorted(listed) if (dataset.root / path).is_file()]
    sizes: list[tuple[int, int]] = []
    for result in _decode(dataset.root, present, progress):
        if isinstance(result, Fault):
            faults.append(result)
        else:
            sizes.append(result)
    return CheckReport(
        trials=tuple(TrialCounts(t.number, _counts(t.train), _counts(t.test)) for t in findings.trials),
        cameras=_cameras(listed),
        people=len({identity for identity, _, _ in listed.values()}),
        images=len(listed),
        sizes=_range(sizes),
        seen=_seen(findings.trials),
        faults=tuple(faults),
        warnings=findings.warnings,
    )


def _listed(trials: tuple[Trial, ...]) -> dict[str, tuple[int, int, Modality]]:
    """Identity, camera and modality of every image of the data set, by its path."""
    return {
        path: (int(identity), int(camera), modality)
        for trial in trials
        for split in (trial.train, trial.test)
        for modality in MODALITIES
        for path, identity, camera in zip(
            split[modality].paths, split[modality].identities, split[modality].cameras, strict=True
        )
    }


def _cameras(listed: dict[str, tuple[int, int, Modality]]) -> tuple[CameraCounts, ...]:
    people: dict[tuple[int, Modality], list[int]] = {}
    for identity, camera, modality in listed.values():
        people.setdefault((camera, modality), []).append(identity)
    return tuple(
        CameraCounts(camera, modality, len(set(identities)), len(identities))
        for (camera, modality), identities in sorted(people.items())
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


def _counts(split: Split) -> SplitCounts:
    return SplitCounts(len(split.everyone), len(split.visible), len(split.infrared))


def _range(sizes: list[tuple[int, int]]) -> ImageSizes | None:
    if not sizes:
        return None
    widths, heights = zip(*sizes, strict=True)
    return ImageSizes(min(widths), max(widths), min(heights), max(heights))


def _seen(trials: tuple[Trial, ...]) -> dict[tuple[int, int], int]:
    return {
        (tested.number, trained.number): len(tested.test.everyone & trained.train.everyone)
        for tested in trials
        for trained in trials
    }
