"""LLCM: 1064 people before nine cameras, with one fixed division into training and test.

Layout: training images in `idx/train_vis.txt` and `idx/train_nir.txt`, lines such as
`vis/0001/0001_c01_s185535_f7010_vis.jpg 0`; test identities, comma-separated, in `idx/test_id.txt` and
their images in `test_vis/cam{1..9}/<four-digit identity>/` and `test_nir/...`. A camera has the same
number in both modalities, as it stands in the same place. Zhang and Wang, CVPR 2023.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import ClassVar, NamedTuple

from tsme.config import DatasetName
from tsme.data.datasets.common import (
    IdFile,
    Photo,
    absence_faults,
    files_beside,
    image_list,
    in_drawing_order,
    listing_faults,
    only_trial,
    overlap_faults,
    quote,
    read_id_file,
    read_text,
    require_folder,
    scan_camera,
    scarcity_faults,
    trainable,
    unusual_counts,
)
from tsme.data.types import MODALITIES, Fault, Findings, Modality, Split, Trial

TRAIN_LISTS: dict[Modality, str] = {"visible": "idx/train_vis.txt", "infrared": "idx/train_nir.txt"}
TEST_IDS = "idx/test_id.txt"
_TITLE = "LLCM"
_TEST_FOLDERS: dict[Modality, str] = {"visible": "test_vis", "infrared": "test_nir"}
_CAMERAS = range(1, 10)
_VISIBLE_ONLY = 3  # the camera that took no infrared images
# Not one number for both: they would pass for one camera, and all matches for shots of one moment.
_UNKNOWN_CAMERA: dict[Modality, int] = {"visible": -1, "infrared": -2}
_LABEL = re.compile(r"[0-9]{1,9}")
# The identity is the folder's number; labels are renumbered for training.
_PATH = re.compile(r"(?:[^/]+/)*0{0,8}([1-9][0-9]{0,8})/[^/]+\.(?:bmp|png|jpe?g)", re.IGNORECASE)
_NAME = re.compile(r"/([0-9]{1,9})_c([0-9]{1,9})_[^/]*$")
_CAMERA_PATTERNS = (re.compile(r"_c([0-9]{1,9})_"), re.compile(r"cam([0-9]{1,9})(?![0-9])"))


class _Row(NamedTuple):
    line: int
    photo: Photo
    label: int


@dataclass(frozen=True)
class _TrainList:
    """The well-formed lines of a training list whose images exist, and what is wrong with the others."""

    file: str
    rows: tuple[_Row, ...]
    faults: tuple[Fault, ...]

    @property
    def lines(self) -> dict[int, int]:
        """Every person's first line."""
        return {row.photo.identity: row.line for row in reversed(self.rows)}


@dataclass(frozen=True)
class Llcm:
    """An LLCM folder: the one that holds idx, vis, nir, test_vis and test_nir."""

    name: ClassVar[DatasetName] = "llcm"
    root: Path

    def trials(self) -> list[int]:
        """[1]; UserError if this is no such folder."""
        _require_root(self.root)
        return [1]

    def read(self, trial: int) -> Trial:
        """Training images in list order, test images in the order of identity, camera and file name.

        The camera is negative where a training image's path does not tell it. UserError for the first
        fault, and for a `trial` other than 1.
        """
        return only_trial(self, _TITLE, trial)

    def lists(self) -> list[str]:
        """The training lists and the list of test identities."""
        return [file for file in (*TRAIN_LISTS.values(), TEST_IDS) if (self.root / file).is_file()]

    def examine(self) -> Findings:
        """All lists, and all folders of the people they name. UserError if this is no such folder."""
        _require_root(self.root)
        lists = {modality: _read_train_list(self.root, modality) for modality in MODALITIES}
        ids = read_id_file(self.root, TEST_IDS)
        tested, faults = _read_test(self.root, ids)
        faults = [
            *(fault for one in lists.values() for fault in one.faults),
            *ids.faults,
            *(fault for one in lists.values() for fault in overlap_faults(ids, one.file, one.lines)),
            *faults,
        ]
        visible, infrared = (
            image_list(self.root, modality, (row.photo for row in lists[modality].rows))
            for modality in MODALITIES
        )
        listed = Split(visible, infrared)
        fit, warnings = trainable(listed)
        if not faults:  # else they may be the reason
            faults += scarcity_faults(fit, TRAIN_LISTS["visible"], "training identities are")
            faults += scarcity_faults(tested, TEST_IDS, "test identities are")
        counts = (
            (len(listed.everyone), 713, "training identities"),
            (len(visible), 16946, "visible training images"),
            (len(infrared), 13975, "infrared training images"),
            (len(ids.lines), 351, f"people in {TEST_IDS}"),
        )
        warnings += unusual_counts(_TITLE, counts)
        for one in lists.values():
            warnings += [*_label_warnings(one), *_camera_warnings(one)]
        return Findings((Trial(1, fit, tested),), tuple(faults), tuple(warnings))


def _require_root(root: Path) -> None:
    require_folder(root, _TITLE, ("idx", "vis", "nir", "test_vis", "test_nir"))


def _read_test(root: Path, ids: IdFile) -> tuple[Split, list[Fault]]:
    """The images of the test identities, and the faults in their folders."""
    photos: dict[Modality, list[Photo]] = {"visible": [], "infrared": []}
    faults: list[Fault] = []
    for modality, top in _TEST_FOLDERS.items():
        for camera in _CAMERAS:
            folder = f"{top}/cam{camera}"
            may_lack = modality == "infrared" and camera == _VISIBLE_ONLY
            if may_lack and not (root / folder).is_dir():
                continue
            found, wrong = scan_camera(root, folder, camera, ids.lines)
            photos[modality] += found
            faults += wrong
    everyone = [*photos["visible"], *photos["infrared"]]
    faults += _name_faults(everyone)
    if everyone or not faults:  # else missing folders would be told again of every person
        faults += absence_faults(ids, everyone, "test_*/cam*")
    visible, infrared = (
        image_list(root, modality, in_drawing_order(photos[modality])) for modality in MODALITIES
    )
    return Split(visible, infrared), faults


def _read_train_list(root: Path, modality: Modality) -> _TrainList:
    file = TRAIN_LISTS[modality]
    text = read_text(root, file)
    if isinstance(text, Fault):
        return _TrainList(file, (), (text,))
    parsed = [
        _parse_line(file, number, line, modality)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    faults = [item for item in parsed if isinstance(item, Fault)]
    if not parsed:
        faults.append(Fault(file, None, "list is empty; restore it from the data set's archive"))
    rows, missing = _existing(root, file, [item for item in parsed if isinstance(item, _Row)])
    return _TrainList(file, tuple(rows), (*faults, *missing))


def _parse_line(file: str, number: int, line: str, modality: Modality) -> _Row | Fault:
    # From the right: a file name may hold spaces.
    fields = line.rsplit(maxsplit=1)
    if len(fields) < 2:
        return Fault(file, number, f"{quote(line.strip())} is not '<relative path> <label>'; correct it")
    path, label = fields[0].lstrip(), fields[1]
    if path.startswith("/") or PureWindowsPath(path).drive:
        problem = "is absolute; write it from vis/ or nir/ on"
    elif ".." in path.split("/"):
        problem = "holds '..'; write it from vis/ or nir/ on"
    elif not (match := _PATH.fullmatch(path)):
        problem = "does not follow <folder>/<person's number>/<name>.jpg; correct it"
    elif not _LABEL.fullmatch(label):
        return Fault(file, number, f"label {quote(label)} is not a whole number; correct it")
    else:
        return _Row(number, Photo(path, int(match[1]), _camera(path, modality)), int(label))
    return Fault(file, number, f"path {quote(path)} {problem}")


def _camera(path: str, modality: Modality) -> int:
    for pattern in _CAMERA_PATTERNS:
        if match := pattern.search(path):
            return int(match[1])
    return _UNKNOWN_CAMERA[modality]


def _existing(root: Path, file: str, rows: list[_Row]) -> tuple[list[_Row], list[Fault]]:
    """The rows whose image is on disk and is listed for the first time, and the faults of the others."""
    tops = {row.photo.path.partition("/")[0] for row in rows}
    # One fault for a folder that was not unpacked, not one for each of its thousands of images.
    lost = sorted(top for top in tops if not os.path.isdir(root / top))
    message = "which it has images in, is missing; restore it from the data set's archive"
    faults = [Fault(file, None, f"folder {quote(top)}, {message}") for top in lost]
    unpacked = [row for row in rows if row.photo.path.partition("/")[0] not in lost]
    listed = [(row.line, row.photo.path) for row in unpacked]
    wrong = listing_faults(file, listed, files_beside(root, (path for _, path in listed)))
    return [row for row in unpacked if row.line not in wrong], [*faults, *wrong.values()]


def _camera_warnings(one: _TrainList) -> Iterator[str]:
    untold = [row.photo.path for row in one.rows if row.photo.camera < 0]
    if untold:
        what = f"{one.file}: {len(untold)} names do not tell the camera, the first {untold[0]}"
        yield f"{what}; validation then counts matches from the same camera too"


def _name_faults(photos: list[Photo]) -> Iterator[Fault]:
    """Test images whose name names another person or camera than their folder does."""
    for photo in photos:
        match = _NAME.search(photo.path)
        if match and (int(match[1]), int(match[2])) != (photo.identity, photo.camera):
            message = f"name says person {int(match[1])}, camera {int(match[2])}, unlike its folder"
            yield Fault(photo.path, None, f"{message}; move or rename it")


def _label_warnings(one: _TrainList) -> Iterator[str]:
    """Whether folder and label tell people apart differently, so that one of them is mistaken."""
    people: dict[int, int] = {}
    labels: dict[int, int] = {}
    for line, photo, label in one.rows:
        person = people.setdefault(label, photo.identity)
        if person != photo.identity or labels.setdefault(photo.identity, label) != label:
            what = (
                f"{one.file}, line {line}: label {label} and folder {photo.identity} do not go together"
            )
            yield f"{what} on other lines; the folder's number is taken for the person"
            return
