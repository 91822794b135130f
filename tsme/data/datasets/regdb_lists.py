"""RegDB's list files: a trial's four lists, and every check on them.

A line is `<relative path> <label>`, for example `Visible/285/male_back_v_05528_285.bmp 0`. The identity
is the folder's number, which is also the last number of the file name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Literal

from tsme.data.datasets.folder import BadLine, DataFolder, quote
from tsme.data.datasets.image_lists import ListFile, read_list_file
from tsme.data.datasets.image_records import MIN_IDENTITIES
from tsme.data.types import MODALITIES, Fault, Modality

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")
FOLDERS: dict[Modality, str] = {"visible": "Visible", "infrared": "Thermal"}
# Generated data only: what the other sensor would have recorded, under the paths of the images.
GROUND_TRUTH_FOLDER = "Truth"
# Nine digits keep every identity inside int64.
_PATH = re.compile(r"[^/]+/([0-9]{1,9})/(?:[^/]*[^0-9/])?([0-9]{1,9})\.(?:bmp|png|jpe?g)", re.IGNORECASE)

# A trial's four lists, in the order train, test and visible, infrared.
TrialLists = dict[tuple[SplitName, Modality], ListFile]


def list_files(trial: int) -> dict[tuple[SplitName, Modality], str]:
    """The four list files of a trial, relative to the root."""
    return {
        (split, modality): f"idx/{split}_{FOLDERS[modality].lower()}_{trial}.txt"
        for split in SPLITS
        for modality in MODALITIES
    }


def read_lists(folder: DataFolder, trial: int) -> TrialLists:
    """Read a trial's four lists; each keeps its own faults."""
    return {
        key: read_list_file(folder, file, partial(_identify, FOLDERS[key[1]]))
        for key, file in list_files(trial).items()
    }


def identities_of(lists: TrialLists, split: SplitName) -> set[int]:
    """Identities in either list of a split."""
    return {line.identity for modality in MODALITIES for line in lists[split, modality].lines}


def trial_faults(lists: TrialLists) -> Iterator[Fault]:
    """The faults of each list, then those between lists."""
    for listed in lists.values():
        yield from listed.faults
        if len(listed.first_lines) == 1:
            yield Fault(listed.file, None, f"names only 1 identity; list at least {MIN_IDENTITIES}")
    for split in SPLITS:
        visible, infrared = lists[split, "visible"], lists[split, "infrared"]
        yield from _single_modality_faults(visible, infrared)
        yield from _single_modality_faults(infrared, visible)
    trained = identities_of(lists, "train")
    for modality in MODALITIES:
        listed = lists["test", modality]
        for identity in sorted(trained & listed.first_lines.keys()):
            message = f"identity {identity} is also in the training lists; keep only one of the two"
            yield Fault(listed.file, listed.first_lines[identity], message)


def _single_modality_faults(listed: ListFile, other: ListFile) -> Iterator[Fault]:
    """A fault for each identity of a list that the list of the other modality lacks."""
    if not other.lines:
        return  # already a fault, which would be repeated for every identity
    for identity in sorted(listed.first_lines.keys() - other.first_lines.keys()):
        message = f"identity {identity} is not in {other.file}; list every identity in both"
        yield Fault(listed.file, listed.first_lines[identity], message)


def _identify(folder: str, path: str) -> int:
    """The identity in a path. Raises BadLine unless it is in `folder` and named as in RegDB."""
    match = _PATH.fullmatch(path)
    if path.partition("/")[0].casefold() != folder.casefold():
        problem = f"is not in the {folder} folder; this list takes only {folder} images"
    elif not match:
        problem = f"does not follow {folder}/<identity>/<name>_<identity>.bmp; rename it"
    elif int(match[1]) != int(match[2]):
        problem = f"is in folder {match[1]} but its name ends in {match[2]}; both must be the identity"
    else:
        return int(match[1])
    raise BadLine(f"path {quote(path)} {problem}")
