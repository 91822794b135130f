"""RegDB: ten fixed trials over 412 people, each with ten visible and ten thermal images.

Layout: images `Visible/<person>/<name>_<person>.bmp` and `Thermal/...`, lists
`idx/{train,test}_{visible,thermal}_{1..10}.txt`. Nguyen et al., Sensors 17(3), 2017.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from tsme.config import DatasetName
from tsme.data.datasets.common import EXTENSIONS, entries
from tsme.data.datasets.regdb_lists import (
    FOLDERS,
    SPLITS,
    SplitName,
    TrialLists,
    list_files,
    people,
    read_lists,
    trial_faults,
)
from tsme.data.types import Fault, Findings, ImageList, Modality, Split, Trial
from tsme.errors import UserError

TRIALS = 10
CAMERAS: dict[Modality, int] = {"visible": 1, "infrared": 2}  # two, side by side
_PUBLISHED_PEOPLE = 412
_PUBLISHED_SPLIT = 206
_PUBLISHED_IMAGES = 2060


@dataclass(frozen=True)
class RegDB:
    """A RegDB folder: the one that holds idx, Visible and Thermal."""

    name: ClassVar[DatasetName] = "regdb"
    root: Path

    def trials(self) -> list[int]:
        """The trials all four of whose lists exist, ascending; UserError if there is none."""
        return _trials_with(all, self.root)

    def read(self, trial: int) -> Trial:
        """One trial; images keep the order of their lists.

        Raises UserError for the first fault of the trial's lists or a missing image, and for a `trial`
        outside 1 to 10.
        """
        _require_root(self.root)
        if trial not in range(1, TRIALS + 1):
            raise UserError(f"trial {trial}: RegDB has trials 1 to {TRIALS}")
        lists = read_lists(self.root, trial)
        for fault in trial_faults(lists, scan_images(self.root)):
            raise UserError(f"{self.root}/{fault}")
        return _trial(self.root, trial, lists)

    def lists(self) -> list[str]:
        """The four lists of each complete trial."""
        return [file for trial in self.trials() for file in list_files(trial).values()]

    def examine(self) -> Findings:
        """Every list of every trial; a trial that lacks some of its lists is a fault.

        Raises UserError if there is nothing to check: no such folder, no lists, no images.
        """
        begun = {trial: read_lists(self.root, trial) for trial in _trials_with(any, self.root)}
        present = scan_images(self.root)
        faults = tuple(fault for lists in begun.values() for fault in trial_faults(lists, present))
        named = {row.path for lists in begun.values() for one in lists.values() for row in one.rows}
        return Findings(
            trials=tuple(_trial(self.root, number, lists) for number, lists in begun.items()),
            faults=faults,
            warnings=(*_count_warnings(begun), *_unlisted_warnings(present - named)),
        )


def scan_images(root: Path) -> frozenset[str]:
    """Every file `Visible/*/*` and `Thermal/*/*`, relative to `root`.

    One scan per folder: on network storage that is far cheaper than asking file by file. Raises
    UserError if a folder is missing or cannot be listed.
    """
    return frozenset(
        f"{folder}/{person.name}/{image.name}"
        for folder in FOLDERS.values()
        for person in _listed(root, folder)
        if person.is_dir()
        for image in _listed(root, f"{folder}/{person.name}")
        if image.is_file()
    )


def _trial(root: Path, number: int, lists: TrialLists) -> Trial:
    return Trial(number, _split(root, lists, "train"), _split(root, lists, "test"))


def _split(root: Path, lists: TrialLists, split: SplitName) -> Split:
    def images(modality: Modality) -> ImageList:
        rows = lists[split, modality].rows
        identities = np.array([row.identity for row in rows], dtype=np.int64)
        cameras = np.full(len(rows), CAMERAS[modality], dtype=np.int64)
        return ImageList(root, modality, tuple(row.path for row in rows), identities, cameras)

    return Split(images("visible"), images("infrared"))


def _listed(root: Path, folder: str) -> list[os.DirEntry[str]]:
    found = entries(root, folder)
    if isinstance(found, Fault):
        raise UserError(f"{root}/{found}")
    return found


def _require_root(root: Path) -> None:
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder; give the RegDB folder that holds idx, Visible and Thermal"
        )


def _trials_with(enough: Callable[[Iterable[bool]], bool], root: Path) -> list[int]:
    _require_root(root)
    trials = [
        trial
        for trial in range(1, TRIALS + 1)
        if enough((root / file).is_file() for file in list_files(trial).values())
    ]
    if not trials:
        lists = "idx/{train,test}_{visible,thermal}_{1..10}.txt"
        raise UserError(f"{root}: no trial has its four lists; expected {lists} in this folder")
    return trials


def _count_warnings(trials: dict[int, TrialLists]) -> Iterator[str]:
    """Where the numbers are not those of the published data set, whose results they change."""
    if len(trials) != TRIALS:
        yield f"only trials {_join(list(trials))}; the published RegDB has {TRIALS}"
    everyone = {person for lists in trials.values() for one in SPLITS for person in people(lists, one)}
    if len(everyone) != _PUBLISHED_PEOPLE:
        yield f"{len(everyone)} people; the published RegDB has {_PUBLISHED_PEOPLE}"
    other = [
        number
        for number, lists in trials.items()
        if {len(people(lists, one)) for one in SPLITS} != {_PUBLISHED_SPLIT}
    ]
    if other:
        yield f"trials {_join(other)}: not the published {_PUBLISHED_SPLIT} people in every split"
    other = [
        number
        for number, lists in trials.items()
        if {len(one.rows) for one in lists.values()} != {_PUBLISHED_IMAGES}
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
