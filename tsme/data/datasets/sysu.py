"""SYSU-MM01: 491 identities, six cameras, one fixed division into training and test.

Layout: images `cam{1..6}/<identity>/<frame>.jpg`, both of four digits; identities, comma-separated, in
`exp/{train,val,test}_id.txt`. Wu et al., ICCV 2017. The authors' gallery draws are a separate file,
`exp/rand_perm_cam.mat`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tsme.data.datasets.folder import DataFolder
from tsme.data.datasets.identity_files import (
    IdentityFile,
    absence_faults,
    overlap_faults,
    read_identity_file,
    scan_camera,
)
from tsme.data.datasets.image_records import (
    ImageRecord,
    drop_single_modality,
    image_list,
    in_drawing_order,
    too_few_faults,
    unusual_counts,
)
from tsme.data.datasets.permutations import PERMUTATIONS, Permutations, read_permutations
from tsme.data.types import Dataset, Fault, Split, Trial
from tsme.errors import UserError

VISIBLE_CAMERAS = (1, 2, 4, 5)
INFRARED_CAMERAS = (3, 6)
INDOOR_CAMERAS = (1, 2)  # of the visible ones
TRAIN_IDS, VALIDATION_IDS, TEST_IDS = "exp/train_id.txt", "exp/val_id.txt", "exp/test_id.txt"
_TITLE = "SYSU-MM01"
_CAMERAS = range(1, 7)
_FRAME = re.compile(r"[0-9]{1,9}\.jpg", re.IGNORECASE)


def read_sysu(root: Path) -> Dataset:
    """Scan a SYSU-MM01 folder: the one that contains exp and cam1 to cam6.

    Training identities are the published training and validation identities, 395 in total. Images are
    sorted by identity, camera and file name. Raises UserError if there is no such folder.
    """
    folder = DataFolder(root)
    folder.require(_TITLE, ("exp", *(f"cam{camera}" for camera in _CAMERAS)))
    train, validation, test = (
        read_identity_file(folder, file) for file in (TRAIN_IDS, VALIDATION_IDS, TEST_IDS)
    )
    training = {*train.lines, *validation.lines}
    records, folder_faults = _scan(folder, {*training, *test.lines})
    faults = [*_list_faults(train, validation, test), *folder_faults]
    if records or not folder_faults:  # else each identity would repeat that the folders are missing
        for listed in (train, validation, test):
            faults += absence_faults(listed, records, "cam*")
    images = _split(records)
    trained, tested = images.keep(training), images.keep(test.lines)
    fit, warnings = drop_single_modality(trained)
    if not faults:  # else the faults may be the reason
        faults += too_few_faults(fit, TRAIN_IDS, "training identities are")
        faults += too_few_faults(tested, TEST_IDS, "test identities are")
    warnings += _count_warnings(train, validation, test, trained, tested)
    permutations, permutation_faults = _permutations(root)
    if not np.isin(tested.visible.cameras, INDOOR_CAMERAS).any():
        warnings.append("no test identity has an image from an indoor visible camera: no indoor-search")
    kept = tuple(sorted(validation.lines.keys() & set(fit.identities)))
    return Dataset(
        name="sysu",
        location=root,
        trials={1: Trial(1, fit, tested, kept)},
        lists=folder.digests,
        faults_by_trial={1: (*faults, *permutation_faults)},
        warnings=tuple(warnings),
        permutations=permutations,
    )


def _permutations(root: Path) -> tuple[Permutations | None, list[Fault]]:
    try:
        return read_permutations(root), []
    except UserError as error:
        message = str(error).removeprefix(f"{root / PERMUTATIONS}: ")
        return None, [Fault(PERMUTATIONS, None, message)]


def _list_faults(train: IdentityFile, validation: IdentityFile, test: IdentityFile) -> Iterator[Fault]:
    """The faults of each list, then those between lists."""
    for listed in (train, validation, test):
        yield from listed.faults
    yield from overlap_faults(validation, train.file, train.lines)
    yield from overlap_faults(test, train.file, train.lines)
    yield from overlap_faults(test, validation.file, validation.lines)


def _scan(folder: DataFolder, identities: set[int]) -> tuple[list[ImageRecord], list[Fault]]:
    """The images of these identities in drawing order, and the faults of the folders."""
    records: list[ImageRecord] = []
    faults: list[Fault] = []
    for camera in _CAMERAS:
        found, camera_faults = scan_camera(folder, f"cam{camera}", camera, identities)
        faults += camera_faults
        for record in found:
            if _FRAME.fullmatch(record.path.rpartition("/")[2]):
                records.append(record)
            else:
                message = "name is not a frame number and .jpg, such as 0001.jpg; rename or remove it"
                faults.append(Fault(record.path, None, message))
    return in_drawing_order(records), sorted(faults, key=lambda fault: fault.file)


def _split(records: list[ImageRecord]) -> Split:
    return Split(
        image_list("visible", (record for record in records if record.camera in VISIBLE_CAMERAS)),
        image_list("infrared", (record for record in records if record.camera in INFRARED_CAMERAS)),
    )


def _count_warnings(
    train: IdentityFile, validation: IdentityFile, test: IdentityFile, trained: Split, tested: Split
) -> Iterator[str]:
    counts = (
        (len(train.lines), 296, f"identities in {TRAIN_IDS}"),
        (len(validation.lines), 99, f"identities in {VALIDATION_IDS}"),
        (len(test.lines), 96, f"identities in {TEST_IDS}"),
        (len(trained.visible), 22258, "visible training images"),
        (len(trained.infrared), 11909, "infrared training images"),
        (len(tested.infrared), 3803, "infrared test images"),
    )
    return unusual_counts(_TITLE, counts)
