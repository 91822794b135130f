"""RegDB's list files: parsing, every check on them, and the `Trial` they describe.

Layout: `idx/{train,test}_{visible,thermal}_{1..10}.txt` with lines `<relative path> <label>`, for
example `Visible/285/male_back_v_05528_285.bmp 0`. The folder number, which is also the last number
of the file name, is the person; the label is renumbered per list and means nothing across trials.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Literal, NamedTuple

import numpy as np

from tsme.data.records import MODALITIES, ImageList, Modality, Split, Trial
from tsme.errors import UserError

TRIALS = 10
EXTENSIONS = (".bmp", ".png", ".jpg", ".jpeg")

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")
_FOLDERS: dict[Modality, str] = {"visible": "Visible", "infrared": "Thermal"}
# Nine digits keep every identity and label inside int64.
_NUMBER = re.compile(r"[0-9]{1,9}")
_PATH = re.compile(r"[^/]+/([0-9]{1,9})/(?:[^/]*[^0-9/])?([0-9]{1,9})\.(?:bmp|png|jpe?g)", re.IGNORECASE)


@dataclass(frozen=True)
class Fault:
    """What is wrong with one file of the data set; `file` is relative to its root."""

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{place}: {self.message}"


class Row(NamedTuple):
    """One well-formed line of a list; lines count from 1."""

    line: int
    path: str
    identity: int
    label: int


@dataclass(frozen=True)
class ListFile:
    """The well-formed lines of one list file, and the faults of its other lines."""

    file: str
    rows: tuple[Row, ...]
    faults: tuple[Fault, ...]

    @property
    def first_rows(self) -> dict[int, Row]:
        """Every person's first line, by identity."""
        return {row.identity: row for row in reversed(self.rows)}


# A trial's four lists, in the order train, test and visible, infrared.
TrialLists = dict[tuple[SplitName, Modality], ListFile]


def read_trial(root: Path, trial: int) -> Trial:
    """One trial of the RegDB folder `root`; images keep the order of their lists.

    Raises UserError for the first fault of the trial's lists or a missing image, and for a `trial`
    outside 1 to 10.
    """
    lists = read_lists(root, trial)
    for fault in trial_faults(lists, scan_images(root)):
        raise UserError(f"{root}/{fault}")
    return Trial(trial, _split(root, lists, "train"), _split(root, lists, "test"))


def available_trials(root: Path) -> list[int]:
    """The trials all four of whose lists exist, ascending; UserError if there is none."""
    return _trials_with(all, root)


def begun_trials(root: Path) -> list[int]:
    """The trials at least one of whose lists exists, ascending; UserError if there is none."""
    return _trials_with(any, root)


def list_files(trial: int) -> dict[tuple[SplitName, Modality], str]:
    """The four list files of a trial, relative to the root."""
    return {
        (split, modality): f"idx/{split}_{_FOLDERS[modality].lower()}_{trial}.txt"
        for split in SPLITS
        for modality in MODALITIES
    }


def read_lists(root: Path, trial: int) -> TrialLists:
    """Parse a trial's four lists; faults in them are kept, to be given by `trial_faults`.

    Raises UserError if `root` is no folder or `trial` is not in 1 to 10.
    """
    _require_root(root)
    if trial not in range(1, TRIALS + 1):
        raise UserError(f"trial {trial}: RegDB has trials 1 to {TRIALS}")
    return {key: _read_list(root, file, key[1]) for key, file in list_files(trial).items()}


def people(lists: TrialLists, split: SplitName) -> set[int]:
    """Identities in either list of a split."""
    return {row.identity for modality in MODALITIES for row in lists[split, modality].rows}


def scan_images(root: Path) -> frozenset[str]:
    """Every file `Visible/*/*` and `Thermal/*/*`, relative to `root`.

    One scan per folder: on network storage that is far cheaper than asking file by file. Raises
    UserError if a folder is missing or cannot be listed.
    """
    return frozenset(
        f"{folder}/{person.name}/{image.name}"
        for folder in _FOLDERS.values()
        for person in _entries(root / folder)
        if person.is_dir()
        for image in _entries(root / folder / person.name)
        if image.is_file()
    )


def trial_faults(lists: TrialLists, present: frozenset[str]) -> Iterator[Fault]:
    """Everything wrong with a trial, list by list, then between the lists.

    `present` holds the files that exist, as `scan_images` gives them.
    """
    for one in lists.values():
        yield from one.faults
        yield from _label_faults(one)
        yield from _image_faults(one, present)
    for split in SPLITS:
        yield from _pair_faults(lists[split, "visible"], lists[split, "infrared"])
    trained = people(lists, "train")
    for modality in MODALITIES:
        one = lists["test", modality]
        for identity in sorted(trained & one.first_rows.keys()):
            message = f"person {identity} is in the training lists too; keep only one of the two"
            yield Fault(one.file, one.first_rows[identity].line, message)


def _label_faults(one: ListFile) -> Iterator[Fault]:
    """Labels that do not number the people of one list 0..C-1, one each."""
    owner: dict[int, Row] = {}
    given: dict[int, Row] = {}
    for row in one.rows:
        first = owner.setdefault(row.label, row)
        earlier = given.setdefault(row.identity, row)
        if first.identity != row.identity:
            what = f"label {row.label} is person {first.identity} on line {first.line}"
            message = f"{what} and person {row.identity} here; give each person one label"
            yield Fault(one.file, row.line, message)
        elif earlier.label != row.label:
            what = f"person {row.identity} has label {earlier.label} on line {earlier.line}"
            message = f"{what} and label {row.label} here; give each person one label"
            yield Fault(one.file, row.line, message)
    labels = sorted(owner)
    for expected, label in enumerate(labels):
        if label != expected:
            what = f"label {label} is used but label {expected} is not"
            message = f"{what}; number the people 0 to {len(labels) - 1} without gaps"
            yield Fault(one.file, owner[label].line, message)
            break
    if len(given) == 1:
        yield Fault(one.file, None, "names only 1 person; list at least 2")


def _image_faults(one: ListFile, present: frozenset[str]) -> Iterator[Fault]:
    """Images of one list that are listed twice or are not on disk."""
    lines: dict[str, int] = {}
    for row in one.rows:
        first = lines.setdefault(row.path, row.line)
        if first != row.line:
            message = f"image {row.path!r} is already on line {first}; list every image once"
            yield Fault(one.file, row.line, message)
        elif row.path not in present:
            message = f"image {row.path!r} is missing; restore it or remove the line"
            yield Fault(one.file, row.line, message)


def _pair_faults(visible: ListFile, infrared: ListFile) -> Iterator[Fault]:
    """People in only one of a split's two lists, or with different labels in them."""
    if not visible.rows or not infrared.rows:
        return  # a fault of its own already, which would only be repeated for every person
    for one, other in ((visible, infrared), (infrared, visible)):
        there = other.first_rows
        for identity, row in sorted(one.first_rows.items()):
            if identity not in there:
                message = f"person {identity} is not in {other.file}; list everyone in both"
                yield Fault(one.file, row.line, message)
            elif one is infrared and there[identity].label != row.label:
                what = f"person {identity} has label {row.label} here and {there[identity].label}"
                message = f"{what} in {other.file}; give the person the same label in both"
                yield Fault(one.file, row.line, message)


def _read_list(root: Path, file: str, modality: Modality) -> ListFile:
    try:
        # Editors on Windows may begin the file with a byte-order mark.
        text = (root / file).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        message = "list is missing; restore it or choose another trial"
        return ListFile(file, (), (Fault(file, None, message),))
    except (OSError, UnicodeDecodeError) as problem:
        message = f"list cannot be read ({problem}); restore it"
        return ListFile(file, (), (Fault(file, None, message),))
    parsed = [
        _parse_line(file, number, line, _FOLDERS[modality])
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    rows = tuple(item for item in parsed if isinstance(item, Row))
    faults = tuple(item for item in parsed if isinstance(item, Fault))
    if not parsed:
        faults = (Fault(file, None, "list is empty; restore it"),)
    return ListFile(file, rows, faults)


def _parse_line(file: str, number: int, line: str, folder: str) -> Row | Fault:
    # From the right: a file name may hold spaces.
    fields = line.rsplit(maxsplit=1)
    if len(fields) < 2:
        return Fault(file, number, f"{_quote(line.strip())} is not '<relative path> <label>'; correct it")
    path, label = fields[0].lstrip(), fields[1]
    if path.startswith("/") or PureWindowsPath(path).drive:
        problem = f"is absolute; write it from {folder}/ on"
    elif ".." in path.split("/"):
        problem = f"holds '..'; write it from {folder}/ on"
    elif not path.startswith(f"{folder}/"):
        problem = f"is not in the {folder} folder; this list takes only {folder} images"
    elif not (match := _PATH.fullmatch(path)):
        problem = f"does not follow {folder}/<person>/<name>_<person>.bmp; rename it"
    elif int(match[1]) != int(match[2]):
        problem = f"is in folder {match[1]} but its name ends in {match[2]}; make both the person"
    elif not _NUMBER.fullmatch(label):
        return Fault(file, number, f"label {_quote(label)} is not a whole number; correct it")
    else:
        return Row(number, path, int(match[1]), int(label))
    return Fault(file, number, f"path {_quote(path)} {problem}")


def _quote(text: str) -> str:
    """The text as one line, cut where a damaged file would fill the screen."""
    return repr(text if len(text) <= 120 else text[:117] + "...")


def _split(root: Path, lists: TrialLists, split: SplitName) -> Split:
    def images(modality: Modality) -> ImageList:
        rows = lists[split, modality].rows
        identities = np.array([row.identity for row in rows], dtype=np.int64)
        return ImageList(root, modality, tuple(row.path for row in rows), identities)

    return Split(images("visible"), images("infrared"))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as problem:
        reason = problem.strerror or problem
        raise UserError(f"{folder}: folder cannot be listed ({reason}); restore it") from problem


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
