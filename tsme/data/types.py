"""Types that describe a data set: lists of images, splits, trials, and the faults found in its files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tsme.config import DatasetName
from tsme.errors import UserError

Modality = Literal["visible", "infrared"]
MODALITIES: tuple[Modality, Modality] = ("visible", "infrared")


def other(modality: Modality) -> Modality:
    """The modality that is not this one."""
    return "infrared" if modality == "visible" else "visible"


@dataclass(frozen=True)
class ImageList:
    """The images of one modality, in the order of their list file.

    `paths` are relative to `root`; `identities` (n,) int64 are the people's true numbers, which mean
    the same in every list and trial; `cameras` (n,) int64 are numbered within the data set.
    """

    root: Path
    modality: Modality
    paths: tuple[str, ...]
    identities: NDArray[np.int64]
    cameras: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.paths)

    def keep(self, identities: Iterable[int]) -> ImageList:
        """The images of these people only, in unchanged order."""
        chosen = np.array(sorted(identities), dtype=np.int64)
        return self.take(np.flatnonzero(np.isin(self.identities, chosen)))

    def take(self, rows: NDArray[np.intp]) -> ImageList:
        """The images at these rows, in their order."""
        paths = tuple(self.paths[row] for row in rows)
        return ImageList(self.root, self.modality, paths, self.identities[rows], self.cameras[rows])


@dataclass(frozen=True)
class Split:
    """The visible and infrared images of one group of people."""

    visible: ImageList
    infrared: ImageList

    def __getitem__(self, modality: Modality) -> ImageList:
        return self.visible if modality == "visible" else self.infrared

    @property
    def identities(self) -> list[int]:
        """People seen in both modalities, sorted."""
        return [int(i) for i in np.intersect1d(self.visible.identities, self.infrared.identities)]

    @property
    def everyone(self) -> set[int]:
        """People seen in either modality."""
        return {int(i) for i in np.union1d(self.visible.identities, self.infrared.identities)}

    def keep(self, identities: Iterable[int]) -> Split:
        """The images of these people only."""
        chosen = set(identities)
        return Split(self.visible.keep(chosen), self.infrared.keep(chosen))


@dataclass(frozen=True)
class Trial:
    """A division of a data set's people into training and test; RegDB has ten, most others one.

    `validation` are the training identities a data set itself sets aside for choosing a configuration;
    none where it leaves that choice to its users.
    """

    number: int
    train: Split
    test: Split
    validation: tuple[int, ...] = ()


@dataclass(frozen=True)
class Fault:
    """What is wrong with one file of the data set; `file` is relative to its root."""

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{place}: {self.message}"


@dataclass(frozen=True)
class Findings:
    """What the lists and folders of a data set say, without any image opened.

    `trials` hold all that is well formed, `faults` the rest; `warnings` are what is unusual but may be
    meant, such as other counts than the published ones.
    """

    trials: tuple[Trial, ...]
    faults: tuple[Fault, ...]
    warnings: tuple[str, ...]


class Dataset(Protocol):
    """A data set on disk in a known layout. Small, so that it can be sent to other processes."""

    @property
    def name(self) -> DatasetName:
        """What the layout is called on the command line."""

    @property
    def root(self) -> Path:
        """The folder that image paths are relative to."""

    def trials(self) -> list[int]:
        """Numbers of its divisions into training and test identities, ascending; [1] where there is one.

        Raises UserError if the data set is not there.
        """

    def read(self, trial: int) -> Trial:
        """One division. Raises UserError for its first fault, and for a trial there is not."""

    def lists(self) -> list[str]:
        """The files below `root`, existing ones only, that say which image belongs where."""

    def examine(self) -> Findings:
        """All that is wrong with lists and folders. Raises UserError if there is nothing to examine."""


def class_labels(images: ImageList, identities: list[int]) -> NDArray[np.int64]:
    """Index (n,) of every image's identity in the sorted list `identities`, for cross-entropy."""
    assert np.isin(images.identities, identities).all(), "images of people who have no class"
    return np.searchsorted(np.array(identities, dtype=np.int64), images.identities)


def hold_out(trial: Trial, fraction: float, seed: int) -> tuple[Split, Split]:
    """Divide a trial's training identities into (fit, validation): as the data set says, else drawn.

    Drawn are a `fraction` in (0, 1) of the people, at least two, by a seeded draw over identities; at
    least two are left to fit. Raises UserError with fewer than four people, and for a validation list
    of the data set's own that leaves fewer than two on either side.
    """
    split = trial.train
    people = split.identities
    if len(people) < 4:
        raise UserError(
            f"{split.visible.root}: {len(people)} training identities; holding some out for validation "
            "takes at least 4"
        )
    held = set(trial.validation)
    if held and not 2 <= len(held & set(people)) <= len(people) - 2:
        raise UserError(
            f"{split.visible.root}: {len(held)} of {len(people)} training identities are listed for "
            "validation; list at least 2, and leave at least 2 others"
        )
    if not held:
        count = min(max(2, round(fraction * len(people))), len(people) - 2)
        drawn = np.random.default_rng([seed, len(people)]).permutation(people)
        held = {int(i) for i in drawn[:count]}
    return split.keep(set(people) - held), split.keep(held)
