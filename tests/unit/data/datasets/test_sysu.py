"""SYSU-MM01: order and division of a good folder, and the fault of every kind of bad one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tsme.data.datasets.sysu import read_sysu
from tsme.data.types import hold_out
from tsme.errors import UserError

Damage = Callable[[Path], object]

TRAIN, VAL, TEST = "exp/train_id.txt", "exp/val_id.txt", "exp/test_id.txt"
MAT = "exp/rand_perm_cam.mat"
# Person -> cameras; 9 and 20 to train on, 3 and 41 to validate with, 7 and 12 to test on.
SEEN = {
    9: (1, 2, 3),
    20: (4, 6),
    3: (1, 5, 6),
    41: (2, 3),
    7: (1, 2, 3, 4, 5, 6),
    12: (5, 3),
    33: (1, 3),  # in no list
}


def touch(root: Path, path: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).touch()


@pytest.fixture
def sysu(tmp_path: Path) -> Path:
    root = tmp_path / "SYSU-MM01"
    for identity, cameras in SEEN.items():
        for camera in cameras:
            for frame in (10, 2):
                touch(root, f"cam{camera}/{identity:04d}/{frame:04d}.jpg")
    (root / "exp").mkdir()
    (root / TRAIN).write_text("20,9\n")
    (root / VAL).write_text("41,3")
    (root / TEST).write_text("12,7\n")
    return root


def test_order_is_identity_then_camera_then_file_name(sysu: Path) -> None:
    trial = read_sysu(sysu).trial(1)
    assert trial.number == 1
    assert trial.test.visible.paths == (
        "cam1/0007/0002.jpg",
        "cam1/0007/0010.jpg",
        "cam2/0007/0002.jpg",
        "cam2/0007/0010.jpg",
        "cam4/0007/0002.jpg",
        "cam4/0007/0010.jpg",
        "cam5/0007/0002.jpg",
        "cam5/0007/0010.jpg",
        "cam5/0012/0002.jpg",
        "cam5/0012/0010.jpg",
    )
    assert trial.test.visible.identities.tolist() == [7] * 8 + [12] * 2
    assert trial.test.visible.cameras.tolist() == [1, 1, 2, 2, 4, 4, 5, 5, 5, 5]
    assert trial.test.infrared.identities.tolist() == [7] * 4 + [12] * 2
    assert trial.test.infrared.cameras.tolist() == [3, 3, 6, 6, 3, 3]
    for images in (trial.test.visible, trial.train.infrared):
        assert images.identities.dtype == images.cameras.dtype == "int64"
    assert (trial.train.visible.modality, trial.train.infrared.modality) == ("visible", "infrared")


def test_training_identities_are_those_of_train_and_val(sysu: Path) -> None:
    trial = read_sysu(sysu).trial(1)
    assert trial.train.visible.identities.tolist() == [3] * 4 + [9] * 4 + [20] * 2 + [41] * 2
    assert trial.train.visible.cameras.tolist() == [1, 1, 5, 5, 1, 1, 2, 2, 4, 4, 2, 2]
    assert trial.train.infrared.identities.tolist() == [3] * 2 + [9] * 2 + [20] * 2 + [41] * 2
    assert trial.train.infrared.cameras.tolist() == [6, 6, 3, 3, 6, 6, 3, 3]
    assert trial.validation == (3, 41)
    fit, validation = hold_out(trial, 0.25, seed=1)
    assert (fit.identities, validation.identities) == ([9, 20], [3, 41])


def test_harmless_differences_change_nothing(sysu: Path) -> None:
    expected = read_sysu(sysu).trial(1).test.visible.paths
    (sysu / TEST).write_bytes(b"\xef\xbb\xbf 12 ,\r\n 0007,\r\n\r\n")
    for name in ("Thumbs.db", "._0002.jpg", "notes.txt"):
        touch(sysu, f"cam1/0007/{name}")
    touch(sysu, "cam1/.DS_Store")
    (sysu / "cam1/0007/0003.jpg").mkdir()
    assert read_sysu(sysu).trial(1).test.visible.paths == expected
    (sysu / "cam1/0007/0002.jpg").rename(sysu / "cam1/0007/2.JPG")
    assert read_sysu(sysu).trial(1).test.visible.paths[1] == "cam1/0007/2.JPG"


def test_lists_are_the_existing_files(sysu: Path) -> None:
    assert read_sysu(sysu).lists.keys() == {TRAIN, VAL, TEST}
    touch(sysu, MAT)  # not used in training
    assert read_sysu(sysu).lists.keys() == {TRAIN, VAL, TEST}
    (sysu / VAL).unlink()
    assert read_sysu(sysu).lists.keys() == {TRAIN, TEST}


def test_damaged_gallery_draws_are_a_fault(sysu: Path) -> None:
    (sysu / MAT).write_bytes(b"no MATLAB")
    (fault,) = read_sysu(sysu).faults
    assert fault.file == MAT and "cannot be read" in fault.message
    assert str(sysu) not in fault.message


def remove(path: str) -> Damage:
    return lambda root: shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()


def write(file: str, content: str | bytes) -> Damage:
    return lambda root: (root / file).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


def add(path: str) -> Damage:
    return lambda root: touch(root, path)


def file_for_folder(path: str) -> Damage:
    def damage(root: Path) -> None:
        shutil.rmtree(root / path)
        (root / path).touch()

    return damage


def one_left(root: Path) -> None:
    """Keep one training identity that is seen in both modalities, and no such test identity."""
    write(TRAIN, "9")(root)
    write(VAL, "20")(root)
    remove("cam6/0020")(root)
    for camera in (3, 6):
        remove(f"cam{camera}/0007")(root)


# Name -> damage, where the first fault is, and what its message holds.
BAD: dict[str, tuple[Damage, str, tuple[str, ...]]] = {
    "no train list": (remove(TRAIN), f"{TRAIN}: ", ("is missing", "restore")),
    "no val list": (remove(VAL), f"{VAL}: ", ("is missing",)),
    "no test list": (remove(TEST), f"{TEST}: ", ("is missing",)),
    "list is a folder": (
        lambda root: [remove(VAL)(root), (root / VAL).mkdir()],
        f"{VAL}: ",
        ("Is a directory",),
    ),
    "list is not text": (write(TEST, b"\xff1"), f"{TEST}: ", ("not UTF-8 or UTF-16 text",)),
    "empty list": (write(VAL, "\n \n"), f"{VAL}: ", ("is empty",)),
    "letters": (write(TRAIN, "9,twenty"), f"{TRAIN}, line 1: ", ("'twenty'", "commas")),
    "letters in a later line": (write(TRAIN, "9,\n20b\n"), f"{TRAIN}, line 2: ", ("'20b'",)),
    "no commas": (write(TRAIN, "9 20"), f"{TRAIN}, line 1: ", ("'9 20'", "commas")),
    "two commas": (write(TRAIN, "9,,20"), f"{TRAIN}, line 1: ", ("''",)),
    "identity zero": (write(TRAIN, "9,0,20"), f"{TRAIN}, line 1: ", ("'0'", "1, 2")),
    "negative": (write(TRAIN, "9,-20"), f"{TRAIN}, line 1: ", ("'-20'",)),
    "endless number": (write(TRAIN, "9" * 5000), f"{TRAIN}, line 1: ", ("9...'",)),
    "identity twice": (write(TEST, "7,12\n7"), f"{TEST}, line 2: ", ("identity 7 is listed twice",)),
    "train and val": (write(VAL, "41,3,\n9"), f"{VAL}, line 2: ", ("identity 9", TRAIN + ", line 1")),
    "train and test": (write(TEST, "7,12,20"), f"{TEST}, line 1: ", ("identity 20", TRAIN)),
    "val and test": (write(TEST, "7,12,41"), f"{TEST}, line 1: ", ("identity 41", VAL)),
    "identity without image": (write(TEST, "7,12,\n500"), f"{TEST}, line 2: ", ("500", "cam*/0500")),
    "all folders of an identity": (
        lambda root: [remove(f"cam{camera}/0041")(root) for camera in SEEN[41]],
        f"{VAL}, line 1: ",
        ("identity 41 has no image", "cam*/0041"),
    ),
    "empty folder": (
        lambda root: [file.unlink() for file in root.glob("cam*/0012/*.jpg")],
        f"{TEST}, line 1: ",
        ("identity 12 has no image",),
    ),
    "unpadded folders": (
        lambda root: [folder.rename(folder.with_name("20")) for folder in root.glob("cam*/0020")],
        f"{TRAIN}, line 1: ",
        ("identity 20 has no image", "cam*/0020"),
    ),
    **{f"no camera {n}": (remove(f"cam{n}"), f"cam{n}: ", ("is missing",)) for n in range(1, 7)},
    "camera is a file": (file_for_folder("cam3"), "cam3: ", ("Not a directory",)),
    "identity is a file": (
        file_for_folder("cam3/0009"),
        "cam3/0009: ",
        ("cannot be listed (Not a directory)",),
    ),
    "name with letters": (
        add("cam2/0009/frame1.jpg"),
        "cam2/0009/frame1.jpg: ",
        ("not a frame number", "0001.jpg"),
    ),
    "other format": (add("cam6/0007/0001.png"), "cam6/0007/0001.png: ", (".jpg", "rename or remove")),
    "one in both modalities": (
        one_left,
        f"{TRAIN}: ",
        ("only 1 of the training identities", "at least 2"),
    ),
}


@pytest.mark.parametrize(("damage", "place", "parts"), BAD.values(), ids=BAD.keys())
def test_bad_data_is_named(sysu: Path, damage: Damage, place: str, parts: tuple[str, ...]) -> None:
    assert read_sysu(sysu).faults == ()
    damage(sysu)
    first = read_sysu(sysu).faults[0]
    assert str(first).startswith(place)
    for part in parts:
        assert part in first.message
    with pytest.raises(UserError) as caught:
        read_sysu(sysu).trial(1)
    assert str(caught.value) == f"{sysu}/{first}"
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 500


def test_all_faults_are_found_and_the_rest_is_kept(sysu: Path) -> None:
    write(TRAIN, "9,x,20")(sysu)
    remove("cam4")(sysu)
    add("cam1/0007/a.jpg")(sysu)
    findings = read_sysu(sysu)
    assert [(fault.file, fault.line) for fault in findings.faults] == [
        (TRAIN, 1),
        ("cam1/0007/a.jpg", None),
        ("cam4", None),
    ]
    (trial,) = findings.trials.values()
    assert trial.train.identities == [3, 9, 41]
    assert trial.test.identities == [7, 12]


def test_missing_folders_are_not_repeated_for_each_identity(sysu: Path) -> None:
    for camera in range(1, 7):
        remove(f"cam{camera}")(sysu)
    assert [fault.file for fault in read_sysu(sysu).faults] == [f"cam{n}" for n in range(1, 7)]


def test_too_few_test_identities_are_a_fault(sysu: Path) -> None:
    write(TEST, "7")(sysu)
    (fault,) = read_sysu(sysu).faults
    assert (fault.file, fault.line) == (TEST, None)
    assert "only 1 of the test identities" in fault.message


def test_identities_in_one_modality_are_not_trained_on_but_stay_in_the_test(sysu: Path) -> None:
    remove("cam6/0003")(sysu)  # of the validation list
    remove("cam3/0012")(sysu)
    write(TEST, "7,12,33")(sysu)
    findings = read_sysu(sysu)
    (trial,) = findings.trials.values()
    assert findings.faults == ()
    assert trial.train.identities == [9, 20, 41] == sorted(set(trial.train.visible.identities.tolist()))
    assert trial.validation == (41,)
    assert 12 in trial.test.visible.identities
    (warning,) = (text for text in findings.warnings if "one modality" in text)
    assert warning.startswith("1 training identities") and "first 3;" in warning


def test_counts_are_compared_with_the_published(sysu: Path) -> None:
    remove("cam6/0003")(sysu)  # counted as on disk, although identity 3 is then left out
    warnings = read_sysu(sysu).warnings
    for found, what, published in (
        (2, f"identities in {TRAIN}", 296),
        (2, f"identities in {VAL}", 99),
        (2, f"identities in {TEST}", 96),
        (12, "visible training images", 22258),
        (6, "infrared training images", 11909),
        (6, "infrared test images", 3803),
    ):
        assert f"{found} {what}; the published SYSU-MM01 has {published}" in warnings


@pytest.mark.parametrize("more", [0, 1])
def test_only_other_counts_than_the_published_are_warnings(sysu: Path, more: int) -> None:
    counts = {TRAIN: 296, VAL: 99, TEST: 96}
    for start, (file, count) in enumerate(counts.items()):
        identities = range(1000 * start + 1, 1000 * start + 1 + count + more)
        write(file, ",".join(map(str, identities)))(sysu)
    warnings = [text for text in read_sysu(sysu).warnings if "identities in" in text]
    assert warnings == [
        f"{count + 1} identities in {file}; the published SYSU-MM01 has {count}"
        for file, count in counts.items()
        if more
    ]


@pytest.mark.parametrize("trial", [0, 2, -1])
def test_there_is_one_trial(sysu: Path, trial: int) -> None:
    assert read_sysu(sysu).trials.keys() == {1}
    with pytest.raises(UserError, match=f"^trial {trial}: {sysu} has only trial 1$"):
        read_sysu(sysu).trial(trial)


def test_a_folder_of_another_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "RegDB/idx").mkdir(parents=True)
    for folder, what in (
        (tmp_path / "absent", "no such folder"),
        (tmp_path / "RegDB", "this is no SYSU-MM01 folder"),
    ):
        with pytest.raises(UserError, match=f"{what}.*exp, cam1, cam2, cam3, cam4, cam5, cam6"):
            read_sysu(folder)
