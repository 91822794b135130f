"""RegDB's list files: parsing, and every check on them.

A line is `<relative path> <label>`, for example `Visible/285/male_back_v_05528_285.bmp 0`. The folder
number, which is also the last number of the file name, is the person; the label is renumbered per list
and means nothing across trials.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Literal, NamedTuple

from tsme.data.datasets.common import listing_faults, quote, read_text
from tsme.data.types import MODALITIES, Fault, Modality

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")
FOLDERS: dict[Modality, str] = {"visible": "Visible", "infrared": "Thermal"}
# Generated data only: the view of the other sensor, by the paths of the images.
GROUND_TRUTH_FOLDER = "Truth"
# Nine digits keep every identity and label inside int64.
_NUMBER = re.compile(r"[0-9]{1,9}")
_PATH = re.compile(r"[^/]+/([0-9]{1,9})/(?:[^/]*[^0-9/])?([0-9]{1,9})\.(?:bmp|png|jpe?g)", re.IGNORECASE)


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


def list_files(trial: int) -> dict[tuple[SplitName, Modality], str]:
    """The four list files of a trial, relative to the root."""
    return {
        (split, modality): f"idx/{split}_{FOLDERS[modality].lower()}_{trial}.txt"
        for split in SPLITS
        for modality in MODALITIES
    }


def read_lists(root: Path, trial: int) -> TrialLists:
    """Parse a trial's four lists; faults in them are kept, to be given by `trial_faults`."""
    return {key: _read_list(root, file, key[1]) for key, file in list_files(trial).items()}


def people(lists: TrialLists, split: SplitName) -> set[int]:
    """Identities in either list of a split."""
    return {row.identity for modality in MODALITIES for row in lists[split, modality].rows}


def trial_faults(lists: TrialLists, present: frozenset[str]) -> Iterator[Fault]:
    """Everything wrong with a trial, list by list, then between the lists.

    `present` holds the files that exist, as `scan_images` gives them.
    """
    for one in lists.values():
        yield from one.faults
        yield from _label_faults(one)
        yield from listing_faults(one.file, ((row.line, row.path) for row in one.rows), present).values()
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
    text = read_text(root, file)
    if isinstance(text, Fault):
        return ListFile(file, (), (text,))
    parsed = [
        _parse_line(file, number, line, FOLDERS[modality])
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
        return Fault(file, number, f"{quote(line.strip())} is not '<relative path> <label>'; correct it")
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
        return Fault(file, number, f"label {quote(label)} is not a whole number; correct it")
    else:
        return Row(number, path, int(match[1]), int(label))
    return Fault(file, number, f"path {quote(path)} {problem}")
