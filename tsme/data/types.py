"""Types that describe a data set: image lists, splits, trials, faults, and the data set itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tsme.config import DatasetName
from tsme.data.datasets.permutations import Permutations
from tsme.errors import UserError
from tsme.storage.local_copy import LocalCopy

Modality = Literal["visible", "infrared"]
MODALITIES: tuple[Modality, Modality] = ("visible", "infrared")


def other(modality: Modality) -> Modality:
    """The opposite modality."""
    return "infrared" if modality == "visible" else "visible"


@dataclass(frozen=True)
class ImageList:
    """Images of one modality, in the order of their list file.

    `paths` are relative to the root of the data set. `identities` (n,) int64 are the same numbers in
    every list and trial, unlike class labels. `cameras` (n,) int64 are numbered within the data set.
    """

    modality: Modality
    paths: tuple[str, ...]
    identities: NDArray[np.int64]
    cameras: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.paths)

    def keep(self, identities: Iterable[int]) -> ImageList:
        """Only the images of these identities, in unchanged order."""
        kept = np.array(sorted(identities), dtype=np.int64)
        return self.take(np.flatnonzero(np.isin(self.identities, kept)))

    def take(self, rows: NDArray[np.intp]) -> ImageList:
        """The images at these rows, in the order of `rows`."""
        paths = tuple(self.paths[row] for row in rows)
        return ImageList(self.modality, paths, self.identities[rows], self.cameras[rows])


@dataclass(frozen=True)
class Split:
    """The visible and infrared images of one set of identities."""

    visible: ImageList
    infrared: ImageList

    def __getitem__(self, modality: Modality) -> ImageList:
        return self.visible if modality == "visible" else self.infrared

    @property
    def identities(self) -> list[int]:
        """Identities with images in both modalities, sorted."""
        return [int(i) for i in np.intersect1d(self.visible.identities, self.infrared.identities)]

    @property
    def all_identities(self) -> set[int]:
        """Identities with images in either modality."""
        return {int(i) for i in np.union1d(self.visible.identities, self.infrared.identities)}

    def keep(self, identities: Iterable[int]) -> Split:
        """Only the images of these identities."""
        kept = set(identities)
        return Split(self.visible.keep(kept), self.infrared.keep(kept))


@dataclass(frozen=True)
class Trial:
    """One division of the identities into training and test; RegDB has ten, the others one.

    `validation` are the training identities that the data set itself reserves for choosing a
    configuration; empty if it reserves none.
    """

    number: int
    train: Split
    test: Split
    validation: tuple[int, ...] = ()


@dataclass(frozen=True)
class Fault:
    """An error in one file of a data set; `file` is relative to its root."""

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{place}: {self.message}"


@dataclass(frozen=True, eq=False)
class Dataset:
    """The result of one scan of the lists and folders of a data set; no image has been opened.

    Plain data, sent to other processes so that they need not scan again. `trials` hold the valid lines
    of each trial whose lists are complete. `faults_by_trial` also has the faults of incomplete trials.
    `lists` are the SHA-256 digests of the list files of `trials`, by path. `warnings` describe what is
    unusual but allowed. `permutations` are the published gallery draws, if the data set has them.
    """

    name: DatasetName
    location: Path | LocalCopy
    trials: Mapping[int, Trial]
    lists: Mapping[str, bytes] = field(default_factory=dict)
    faults_by_trial: Mapping[int, tuple[Fault, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    permutations: Permutations | None = None

    @property
    def root(self) -> Path:
        """The folder on this machine that image paths are relative to; remote data are copied first."""
        return self.location if isinstance(self.location, Path) else self.location.path

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults of all trials."""
        return tuple(fault for faults in self.faults_by_trial.values() for fault in faults)

    def trial(self, number: int) -> Trial:
        """A trial without faults. Raises UserError for its first fault or an unknown number."""
        for fault in self.faults_by_trial.get(number, ()):
            raise UserError(f"{self.location}/{fault}")
        if number not in self.trials:
            known = ", ".join(map(str, self.trials))
            raise UserError(
                f"trial {number}: {self.location} has only trial{'s' * (len(self.trials) > 1)} {known}"
            )
        return self.trials[number]


def class_labels(images: ImageList, identities: list[int]) -> NDArray[np.int64]:
    """Class labels (n,) for cross-entropy: the index of each image's identity in sorted `identities`."""
    assert np.isin(images.identities, identities).all(), "images of identities without a class"
    return np.searchsorted(np.array(identities, dtype=np.int64), images.identities)


def hold_out(trial: Trial, fraction: float, seed: int) -> tuple[Split, Split]:
    """Divide the training identities of a trial into (fit, validation).

    Uses the data set's own validation identities if it has some, else a seeded random `fraction` in
    (0, 1) of the identities. Each side has at least two identities. Raises UserError if the trial has
    fewer than four, or if the data set's own validation list leaves fewer than two on either side.
    """
    identities = trial.train.identities
    if len(identities) < 4:
        raise UserError(
            f"trial {trial.number}: {len(identities)} training identities; holding some out for "
            "validation takes at least 4"
        )
    held = set(trial.validation)
    if held and not 2 <= len(held & set(identities)) <= len(identities) - 2:
        raise UserError(
            f"trial {trial.number}: {len(held)} of {len(identities)} training identities are listed for "
            "validation; list at least 2, and leave at least 2 others"
        )
    if not held:
        count = min(max(2, round(fraction * len(identities))), len(identities) - 2)
        shuffled = np.random.default_rng([seed, len(identities)]).permutation(identities)
        held = {int(i) for i in shuffled[:count]}
    return trial.train.keep(set(identities) - held), trial.train.keep(held)
