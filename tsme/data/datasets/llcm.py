"""LLCM: 1064 identities, nine cameras, one fixed division into training and test.

Layout: training images in `idx/train_vis.txt` and `idx/train_nir.txt`, lines such as
`vis/0001/0001_c01_s185535_f7010_vis.jpg 0`; test identities, comma-separated, in `idx/test_id.txt` and
their images in `test_vis/cam{1..9}/<four-digit identity>/` and `test_nir/...`. A camera has the same
number in both modalities, as it stands in the same place. Zhang and Wang, CVPR 2023.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tsme.data.datasets.folder import BadLine, DataFolder, quote
from tsme.data.datasets.identity_files import (
    IdentityFile,
    absence_faults,
    overlap_faults,
    read_identity_file,
    scan_camera,
)
from tsme.data.datasets.image_lists import ListFile, label_warnings, read_list_file
from tsme.data.datasets.image_records import (
    ImageRecord,
    drop_single_modality,
    image_list,
    in_drawing_order,
    too_few_faults,
    unusual_counts,
)
from tsme.data.types import MODALITIES, Dataset, Fault, ImageList, Modality, Split, Trial

TRAIN_LISTS: dict[Modality, str] = {"visible": "idx/train_vis.txt", "infrared": "idx/train_nir.txt"}
TEST_IDS = "idx/test_id.txt"
_TITLE = "LLCM"
_TEST_FOLDERS: dict[Modality, str] = {"visible": "test_vis", "infrared": "test_nir"}
_CAMERAS = range(1, 10)
_VISIBLE_ONLY = 3  # the camera without infrared images
# Differ by modality: with one number, all matches would seem to come from one camera.
_UNKNOWN_CAMERA: dict[Modality, int] = {"visible": -1, "infrared": -2}
# The identity is the folder's number; labels are renumbered for training.
_PATH = re.compile(r"(?:[^/]+/)*0{0,8}([1-9][0-9]{0,8})/[^/]+\.(?:bmp|png|jpe?g)", re.IGNORECASE)
_NAME = re.compile(r"/([0-9]{1,9})_c([0-9]{1,9})_[^/]*$", re.IGNORECASE)
_CAMERA_PATTERNS = (
    re.compile(r"_c([0-9]{1,9})_", re.IGNORECASE),
    re.compile(r"cam([0-9]{1,9})(?![0-9])", re.IGNORECASE),
)


def read_llcm(root: Path) -> Dataset:
    """Scan an LLCM folder: the one that contains idx, vis, nir, test_vis and test_nir.

    Training images keep the order of their lists; their camera is negative if the path does not name
    it. Test images are sorted by identity, camera and file name. Raises UserError if there is no such
    folder.
    """
    folder = DataFolder(root)
    folder.require(_TITLE, ("idx", "vis", "nir", "test_vis", "test_nir"))
    lists = {modality: read_list_file(folder, file, _identify) for modality, file in TRAIN_LISTS.items()}
    test = read_identity_file(folder, TEST_IDS)
    tested, test_faults = _read_test(folder, test)
    faults = [
        *(fault for listed in lists.values() for fault in listed.faults),
        *test.faults,
        *(f for listed in lists.values() for f in overlap_faults(test, listed.file, listed.first_lines)),
        *test_faults,
    ]
    trained = Split(
        *(image_list(modality, _records(lists[modality], modality)) for modality in MODALITIES)
    )
    fit, warnings = drop_single_modality(trained)
    if not faults:  # else the faults may be the reason
        faults += too_few_faults(fit, TRAIN_LISTS["visible"], "training identities are")
        faults += too_few_faults(tested, TEST_IDS, "test identities are")
    warnings += _count_warnings(trained, test)
    for modality, listed in lists.items():
        warnings += [*label_warnings(listed), *_camera_warnings(listed.file, trained[modality])]
    return Dataset(
        name="llcm",
        location=root,
        trials={1: Trial(1, fit, tested)},
        lists=folder.digests,
        faults_by_trial={1: tuple(faults)},
        warnings=tuple(warnings),
    )


def _count_warnings(trained: Split, test: IdentityFile) -> Iterator[str]:
    counts = (
        (len(trained.all_identities), 713, "training identities"),
        (len(trained.visible), 16946, "visible training images"),
        (len(trained.infrared), 13975, "infrared training images"),
        (len(test.lines), 351, f"identities in {TEST_IDS}"),
    )
    return unusual_counts(_TITLE, counts)


def _records(listed: ListFile, modality: Modality) -> Iterator[ImageRecord]:
    for line in listed.images:
        yield ImageRecord(line.path, line.identity, _camera(line.path, modality))


def _camera(path: str, modality: Modality) -> int:
    for pattern in _CAMERA_PATTERNS:
        if match := pattern.search(path):
            return int(match[1])
    return _UNKNOWN_CAMERA[modality]


def _identify(path: str) -> int:
    """The identity in a path of a training list. Raises BadLine if there is none."""
    match = _PATH.fullmatch(path)
    if not match:
        raise BadLine(f"path {quote(path)} does not follow <folder>/<identity>/<name>.jpg; correct it")
    return int(match[1])


def _read_test(folder: DataFolder, test: IdentityFile) -> tuple[Split, list[Fault]]:
    """The images of the test identities, and the faults in their folders."""
    records: dict[Modality, list[ImageRecord]] = {"visible": [], "infrared": []}
    faults: list[Fault] = []
    for modality, top in _TEST_FOLDERS.items():
        for camera in _CAMERAS:
            camera_folder = f"{top}/cam{camera}"
            optional = modality == "infrared" and camera == _VISIBLE_ONLY
            if optional and isinstance(folder.listing(camera_folder), Fault):
                continue
            found, camera_faults = scan_camera(folder, camera_folder, camera, test.lines)
            records[modality] += found
            faults += camera_faults
    found = [*records["visible"], *records["infrared"]]
    faults += _name_faults(found)
    if found or not faults:  # else each identity would repeat that the folders are missing
        faults += absence_faults(test, found, "test_*/cam*")
    split = Split(*(image_list(modality, in_drawing_order(records[modality])) for modality in MODALITIES))
    return split, faults


def _name_faults(records: list[ImageRecord]) -> Iterator[Fault]:
    """A fault for each test image whose name and folder disagree on the identity or the camera."""
    for record in records:
        match = _NAME.search(record.path)
        if match and (int(match[1]), int(match[2])) != (record.identity, record.camera):
            message = f"name says identity {int(match[1])}, camera {int(match[2])}, unlike its folder"
            yield Fault(record.path, None, f"{message}; move or rename it")


def _camera_warnings(file: str, images: ImageList) -> Iterator[str]:
    unknown = np.flatnonzero(images.cameras < 0)
    if len(unknown):
        first = images.paths[unknown[0]]
        what = f"{file}: {len(unknown)} names do not contain the camera, the first {first}"
        yield f"{what}; validation then also counts matches from the same camera"
