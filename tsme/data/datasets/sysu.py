"""SYSU-MM01: 491 people before six cameras, with one fixed division into training and test.

Layout: images `cam{1..6}/<identity>/<frame>.jpg`, both of four digits; identities, comma-separated, in
`exp/{train,val,test}_id.txt`. Wu et al., ICCV 2017. The authors' draws of the gallery are a file of its
own, `rand_perm_cam.mat`, which belongs in exp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tsme.config import DatasetName
from tsme.data.datasets.common import (
    IdFile,
    Photo,
    absence_faults,
    image_list,
    in_drawing_order,
    only_trial,
    overlap_faults,
    read_id_file,
    require_folder,
    scan_camera,
    scarcity_faults,
    trainable,
    unusual_counts,
)
from tsme.data.types import Fault, Findings, Split, Trial
from tsme.errors import UserError

VISIBLE_CAMERAS = (1, 2, 4, 5)
INFRARED_CAMERAS = (3, 6)
INDOOR_CAMERAS = (1, 2)  # of the visible ones
TRAIN_IDS, VALIDATION_IDS, TEST_IDS = "exp/train_id.txt", "exp/val_id.txt", "exp/test_id.txt"
PERMUTATIONS = "exp/rand_perm_cam.mat"
_TITLE = "SYSU-MM01"
_CAMERAS = range(1, 7)
_FRAME = re.compile(r"[0-9]{1,9}\.jpg", re.IGNORECASE)
_AGAIN = "get it again from evaluation/data_split of the authors' repository, wuancong/SYSU-MM01"


@dataclass(frozen=True)
class Sysu:
    """A SYSU-MM01 folder: the one that holds exp and cam1 to cam6."""

    name: ClassVar[DatasetName] = "sysu"
    root: Path

    def trials(self) -> list[int]:
        """[1]; UserError if this is no such folder."""
        _require_root(self.root)
        return [1]

    def read(self, trial: int) -> Trial:
        """Training identities are the published training and validation identities, 395 together.

        Images are in the order of identity, camera and file name. UserError for the first fault, and
        for a `trial` other than 1.
        """
        return only_trial(self, _TITLE, trial)

    def lists(self) -> list[str]:
        """The lists of identities; the authors' gallery draws change nothing that is trained."""
        files = (TRAIN_IDS, VALIDATION_IDS, TEST_IDS)
        return [file for file in files if (self.root / file).is_file()]

    def examine(self) -> Findings:
        """All lists, and all folders of the people they name. UserError if this is no such folder."""
        _require_root(self.root)
        train, validation, test = (
            read_id_file(self.root, file) for file in (TRAIN_IDS, VALIDATION_IDS, TEST_IDS)
        )
        photos, wrong = _scan(self.root, {*train.lines, *validation.lines, *test.lines})
        faults = [*_list_faults(train, validation, test), *wrong]
        if photos or not wrong:  # else missing folders would be told again of every person
            for ids in (train, validation, test):
                faults += absence_faults(ids, photos, "cam*")
        everyone = _split(self.root, photos)
        listed, tested = everyone.keep({*train.lines, *validation.lines}), everyone.keep(test.lines)
        fit, warnings = trainable(listed)
        if not faults:  # else they may be the reason
            faults += scarcity_faults(fit, TRAIN_IDS, "training identities are")
            faults += scarcity_faults(tested, TEST_IDS, "test identities are")
        kept = tuple(sorted(validation.lines.keys() & set(fit.identities)))
        counts = (
            (len(train.lines), 296, f"people in {TRAIN_IDS}"),
            (len(validation.lines), 99, f"people in {VALIDATION_IDS}"),
            (len(test.lines), 96, f"people in {TEST_IDS}"),
            (len(listed.visible), 22258, "visible training images"),
            (len(listed.infrared), 11909, "infrared training images"),
            (len(tested.infrared), 3803, "infrared test images"),
        )
        warnings += unusual_counts(_TITLE, counts)
        faults += _permutation_faults(self.root)
        if not np.isin(tested.visible.cameras, INDOOR_CAMERAS).any():
            warnings.append("no test person is before a visible camera indoors: no indoor-search")
        return Findings((Trial(1, fit, tested, kept),), tuple(faults), tuple(warnings))


@dataclass(frozen=True, eq=False)
class Permutations:
    """The authors' fixed draws of gallery images: orders of each person's frames in each camera.

    `orders[camera - 1][identity - 1]` is (draws, frames) int64, every row an order of the person's
    frame numbers, which count from 1; it is empty where the camera has not seen the person.
    """

    file: Path
    orders: tuple[tuple[NDArray[np.int64], ...], ...]

    def frames(self, camera: int, identity: int, draw: int, shots: int) -> list[int]:
        """The numbers of the first `shots` frames of a draw, which counts from 0; all if it has fewer.

        None are given where the camera has not seen the person. Raises UserError for a camera, a
        person or a draw that the file does not reach.
        """
        if not 1 <= camera <= len(self.orders):
            raise UserError(
                f"{self.file}: has no camera {camera}, only 1 to {len(self.orders)}; {_AGAIN}"
            )
        people = self.orders[camera - 1]
        if not 1 <= identity <= len(people):
            reach = f"only 1 to {len(people)} in camera {camera}"
            raise UserError(f"{self.file}: has no person {identity}, {reach}; {_AGAIN}")
        order = people[identity - 1]
        if order.size == 0:
            return []
        if not 0 <= draw < len(order):
            reach = f"only 0 to {len(order) - 1} of person {identity} in camera {camera}"
            raise UserError(f"{self.file}: has no draw {draw}, {reach}; {_AGAIN}")
        return [int(frame) for frame in order[draw, :shots]]


def read_permutations(root: Path) -> Permutations | None:
    """The authors' gallery draws of a SYSU-MM01 folder, None if the file is not there.

    Raises UserError for a file that is damaged, is of a version that cannot be read, or holds
    something else.
    """
    file = root / PERMUTATIONS
    if not file.is_file():
        return None
    cameras = _cells(_load(file))
    if not cameras:
        raise UserError(f"{file}: has no list of cameras by the name rand_perm_cam; {_AGAIN}")
    return Permutations(
        file,
        tuple(
            tuple(
                _order(file, camera, identity, order)
                for identity, order in enumerate(_cells(people), start=1)
            )
            for camera, people in enumerate(cameras, start=1)
        ),
    )


def _load(file: Path) -> Any:
    """The variable rand_perm_cam, a cell array of cameras, each a cell array of people; None without."""
    try:
        from scipy.io import loadmat
    except ImportError as problem:
        raise UserError(f"{file}: reading it takes scipy; install it: pip install scipy") from problem
    try:
        return loadmat(file, variable_names=["rand_perm_cam"]).get("rand_perm_cam")
    except NotImplementedError as problem:
        what = "is of MATLAB version 7.3, which takes the h5py package and is not read here"
        raise UserError(f"{file}: {what}; save it with '-v7' in MATLAB, or {_AGAIN}") from problem
    except Exception as problem:  # damage shows as nearly any error, down to those of struct and zlib
        what = f"cannot be read ({type(problem).__name__}), it may be damaged"
        raise UserError(f"{file}: {what}; {_AGAIN}") from problem


def _cells(value: Any) -> list[Any]:
    """The cells of a cell array of any shape; none if it is something else."""
    return list(value.reshape(-1)) if isinstance(value, np.ndarray) and value.dtype == object else []


def _order(file: Path, camera: int, identity: int, value: Any) -> NDArray[np.int64]:
    if isinstance(value, np.ndarray) and value.size == 0:
        return np.empty((0, 0), dtype=np.int64)
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "uif":
        with np.errstate(invalid="ignore"):  # what does not fit is found by the comparison below
            order = value.astype(np.int64)
        ascending = np.sort(order, axis=1)
        distinct = (np.diff(ascending, axis=1) > 0).all()
        if (order == value).all() and (ascending[:, 0] >= 1).all() and distinct:
            return order
    where = f"camera {camera}, person {identity}"
    raise UserError(f"{file}: {where}: not rows of different frame numbers from 1 up; {_AGAIN}")


def _require_root(root: Path) -> None:
    require_folder(root, _TITLE, ("exp", *(f"cam{camera}" for camera in _CAMERAS)))


def _permutation_faults(root: Path) -> Iterator[Fault]:
    try:
        read_permutations(root)
    except UserError as problem:
        yield Fault(PERMUTATIONS, None, str(problem).removeprefix(f"{root / PERMUTATIONS}: "))


def _list_faults(train: IdFile, validation: IdFile, test: IdFile) -> Iterator[Fault]:
    """What is wrong in each list, then between them."""
    for ids in (train, validation, test):
        yield from ids.faults
    yield from overlap_faults(validation, train.file, train.lines)
    yield from overlap_faults(test, train.file, train.lines)
    yield from overlap_faults(test, validation.file, validation.lines)


def _scan(root: Path, people: set[int]) -> tuple[list[Photo], list[Fault]]:
    """These people's images in drawing order, and the faults in the folders."""
    photos: list[Photo] = []
    faults: list[Fault] = []
    for camera in _CAMERAS:
        found, wrong = scan_camera(root, f"cam{camera}", camera, people)
        faults += wrong
        for photo in found:
            if _FRAME.fullmatch(photo.path.rpartition("/")[2]):
                photos.append(photo)
            else:
                message = "name is not a frame number and .jpg, such as 0001.jpg; rename or remove it"
                faults.append(Fault(photo.path, None, message))
    return in_drawing_order(photos), sorted(faults, key=lambda fault: fault.file)


def _split(root: Path, photos: list[Photo]) -> Split:
    return Split(
        image_list(root, "visible", (photo for photo in photos if photo.camera in VISIBLE_CAMERAS)),
        image_list(root, "infrared", (photo for photo in photos if photo.camera in INFRARED_CAMERAS)),
    )
