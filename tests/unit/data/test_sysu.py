"""SYSU-MM01: the order and division of a good folder, its gallery draws, and every kind of bad one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from tsme.data.records import hold_out
from tsme.data.sysu import Permutations, Sysu, read_permutations
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
    for person, cameras in SEEN.items():
        for camera in cameras:
            for frame in (10, 2):
                touch(root, f"cam{camera}/{person:04d}/{frame:04d}.jpg")
    (root / "exp").mkdir()
    (root / TRAIN).write_text("20,9\n")
    (root / VAL).write_text("41,3")
    (root / TEST).write_text("12,7\n")
    return root


def test_order_is_identity_then_camera_then_file_name(sysu: Path) -> None:
    trial = Sysu(sysu).read(1)
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
        assert images.root == sysu
    assert (trial.train.visible.modality, trial.train.infrared.modality) == ("visible", "infrared")


def test_training_people_are_those_of_train_and_val(sysu: Path) -> None:
    trial = Sysu(sysu).read(1)
    assert trial.train.visible.identities.tolist() == [3] * 4 + [9] * 4 + [20] * 2 + [41] * 2
    assert trial.train.visible.cameras.tolist() == [1, 1, 5, 5, 1, 1, 2, 2, 4, 4, 2, 2]
    assert trial.train.infrared.identities.tolist() == [3] * 2 + [9] * 2 + [20] * 2 + [41] * 2
    assert trial.train.infrared.cameras.tolist() == [6, 6, 3, 3, 6, 6, 3, 3]
    assert trial.validation == (3, 41)
    fit, validation = hold_out(trial, 0.25, seed=1)
    assert (fit.identities, validation.identities) == ([9, 20], [3, 41])


def test_cases_that_differ_harmlessly(sysu: Path) -> None:
    expected = Sysu(sysu).read(1).test.visible.paths
    (sysu / TEST).write_bytes(b"\xef\xbb\xbf 12 ,\r\n 0007,\r\n\r\n")
    for name in ("Thumbs.db", "._0002.jpg", "notes.txt"):
        touch(sysu, f"cam1/0007/{name}")
    touch(sysu, "cam1/.DS_Store")
    (sysu / "cam1/0007/0003.jpg").mkdir()
    assert Sysu(sysu).read(1).test.visible.paths == expected
    (sysu / "cam1/0007/0002.jpg").rename(sysu / "cam1/0007/2.JPG")
    assert Sysu(sysu).read(1).test.visible.paths[1] == "cam1/0007/2.JPG"


def test_lists_are_the_files_there_are(sysu: Path) -> None:
    assert Sysu(sysu).lists() == [TRAIN, VAL, TEST]
    touch(sysu, MAT)  # of no account in training
    assert Sysu(sysu).lists() == [TRAIN, VAL, TEST]
    (sysu / VAL).unlink()
    assert Sysu(sysu).lists() == [TRAIN, TEST]


def test_damaged_gallery_draws_are_a_fault(sysu: Path) -> None:
    (sysu / MAT).write_bytes(b"no MATLAB")
    (fault,) = Sysu(sysu).examine().faults
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


def only_people(root: Path) -> None:
    """Leaves one training person who is seen in both modalities, and no such test person."""
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
    "list is not text": (write(TEST, b"\xff\xfe1\x00"), f"{TEST}: ", ("not UTF-8 text",)),
    "empty list": (write(VAL, "\n \n"), f"{VAL}: ", ("is empty",)),
    "letters": (write(TRAIN, "9,twenty"), f"{TRAIN}, line 1: ", ("'twenty'", "commas")),
    "letters in a later line": (write(TRAIN, "9,\n20b\n"), f"{TRAIN}, line 2: ", ("'20b'",)),
    "no commas": (write(TRAIN, "9 20"), f"{TRAIN}, line 1: ", ("'9 20'", "commas")),
    "two commas": (write(TRAIN, "9,,20"), f"{TRAIN}, line 1: ", ("''",)),
    "person zero": (write(TRAIN, "9,0,20"), f"{TRAIN}, line 1: ", ("'0'", "1, 2")),
    "negative": (write(TRAIN, "9,-20"), f"{TRAIN}, line 1: ", ("'-20'",)),
    "endless number": (write(TRAIN, "9" * 5000), f"{TRAIN}, line 1: ", ("9...'",)),
    "person twice": (write(TEST, "7,12\n7"), f"{TEST}, line 2: ", ("person 7 is listed twice",)),
    "train and val": (write(VAL, "41,3,\n9"), f"{VAL}, line 2: ", ("person 9", TRAIN + ", line 1")),
    "train and test": (write(TEST, "7,12,20"), f"{TEST}, line 1: ", ("person 20", TRAIN)),
    "val and test": (write(TEST, "7,12,41"), f"{TEST}, line 1: ", ("person 41", VAL)),
    "person without image": (write(TEST, "7,12,\n500"), f"{TEST}, line 2: ", ("500", "cam*/0500")),
    "all folders of a person": (
        lambda root: [remove(f"cam{camera}/0041")(root) for camera in SEEN[41]],
        f"{VAL}, line 1: ",
        ("person 41 has no image", "cam*/0041"),
    ),
    "empty folder": (
        lambda root: [file.unlink() for file in root.glob("cam*/0012/*.jpg")],
        f"{TEST}, line 1: ",
        ("person 12 has no image",),
    ),
    "unpadded folders": (
        lambda root: [folder.rename(folder.with_name("20")) for folder in root.glob("cam*/0020")],
        f"{TRAIN}, line 1: ",
        ("person 20 has no image", "cam*/0020"),
    ),
    **{f"no camera {n}": (remove(f"cam{n}"), f"cam{n}: ", ("is missing",)) for n in range(1, 7)},
    "camera is a file": (file_for_folder("cam3"), "cam3: ", ("Not a directory",)),
    "person is a file": (
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
    "nobody in both": (only_people, f"{TRAIN}: ", ("only 1 of the training people", "at least 2")),
}


@pytest.mark.parametrize(("damage", "place", "parts"), BAD.values(), ids=BAD.keys())
def test_bad_data_is_named(sysu: Path, damage: Damage, place: str, parts: tuple[str, ...]) -> None:
    assert Sysu(sysu).examine().faults == ()
    damage(sysu)
    first = Sysu(sysu).examine().faults[0]
    assert str(first).startswith(place)
    for part in parts:
        assert part in first.message
    with pytest.raises(UserError) as caught:
        Sysu(sysu).read(1)
    assert str(caught.value) == f"{sysu}/{first}"
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 500


def test_all_faults_are_found_and_the_rest_is_kept(sysu: Path) -> None:
    write(TRAIN, "9,x,20")(sysu)
    remove("cam4")(sysu)
    add("cam1/0007/a.jpg")(sysu)
    findings = Sysu(sysu).examine()
    assert [(fault.file, fault.line) for fault in findings.faults] == [
        (TRAIN, 1),
        ("cam1/0007/a.jpg", None),
        ("cam4", None),
    ]
    (trial,) = findings.trials
    assert trial.train.identities == [3, 9, 41]
    assert trial.test.identities == [7, 12]


def test_lost_folders_are_not_told_again_of_each_person(sysu: Path) -> None:
    for camera in range(1, 7):
        remove(f"cam{camera}")(sysu)
    assert [fault.file for fault in Sysu(sysu).examine().faults] == [f"cam{n}" for n in range(1, 7)]


def test_too_few_test_people_are_a_fault(sysu: Path) -> None:
    write(TEST, "7")(sysu)
    (fault,) = Sysu(sysu).examine().faults
    assert (fault.file, fault.line) == (TEST, None)
    assert "only 1 of the test people" in fault.message


def test_people_in_one_modality_are_not_trained_on_but_stay_in_the_test(sysu: Path) -> None:
    remove("cam6/0003")(sysu)  # of the validation list
    remove("cam3/0012")(sysu)
    write(TEST, "7,12,33")(sysu)
    findings = Sysu(sysu).examine()
    (trial,) = findings.trials
    assert findings.faults == ()
    assert trial.train.identities == [9, 20, 41] == sorted(set(trial.train.visible.identities.tolist()))
    assert trial.validation == (41,)
    assert 12 in trial.test.visible.identities
    (warning,) = (text for text in findings.warnings if "one modality" in text)
    assert warning.startswith("1 training people") and "first 3;" in warning


def test_counts_are_compared_with_the_published(sysu: Path) -> None:
    remove("cam6/0003")(sysu)  # counted as on disk, although person 3 is then left out
    warnings = Sysu(sysu).examine().warnings
    for found, what, published in (
        (2, f"people in {TRAIN}", 296),
        (2, f"people in {VAL}", 99),
        (2, f"people in {TEST}", 96),
        (12, "visible training images", 22258),
        (6, "infrared training images", 11909),
        (6, "infrared test images", 3803),
    ):
        assert f"{found} {what}; the published SYSU-MM01 has {published}" in warnings


@pytest.mark.parametrize("more", [0, 1])
def test_published_counts_bring_no_warning_and_more_do(sysu: Path, more: int) -> None:
    counts = {TRAIN: 296, VAL: 99, TEST: 96}
    for start, (file, count) in enumerate(counts.items()):
        people = range(1000 * start + 1, 1000 * start + 1 + count + more)
        write(file, ",".join(map(str, people)))(sysu)
    warnings = [text for text in Sysu(sysu).examine().warnings if "people in" in text]
    assert warnings == [
        f"{count + 1} people in {file}; the published SYSU-MM01 has {count}"
        for file, count in counts.items()
        if more
    ]


@pytest.mark.parametrize("trial", [0, 2, -1])
def test_there_is_one_trial(sysu: Path, trial: int) -> None:
    assert Sysu(sysu).trials() == [1]
    with pytest.raises(UserError, match=f"^trial {trial}: SYSU-MM01 has only trial 1$"):
        Sysu(sysu).read(trial)


def test_another_folder_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "RegDB/idx").mkdir(parents=True)
    for folder, what in (
        (tmp_path / "absent", "no such folder"),
        (tmp_path / "RegDB", "this is no SYSU-MM01 folder"),
    ):
        for ask in (Sysu(folder).trials, Sysu(folder).examine, lambda at=folder: Sysu(at).read(1)):
            with pytest.raises(UserError, match=f"{what}.*exp, cam1, cam2, cam3, cam4, cam5, cam6"):
                ask()


def cell(items: list[Any]) -> np.ndarray:
    """A column of cells; numpy would make one array of items of equal shape."""
    column = np.empty((len(items), 1), dtype=object)
    for row, item in enumerate(items):
        column[row, 0] = item
    return column


def order(frames: int, seed: int) -> np.ndarray:
    """Ten permutations of 1..frames, one a row."""
    random = np.random.default_rng(seed)
    return np.array([1 + random.permutation(frames) for _ in range(10)], dtype=np.uint8)


ORDERS = {
    (camera, person): order(person + 2, 10 * camera + person) for camera in (1, 2) for person in (1, 3)
}


@pytest.fixture
def drawn(sysu: Path) -> Path:
    """Two cameras and three people, of whom the cameras have not seen the second."""
    cameras = [cell([ORDERS[camera, 1], np.empty((0, 0)), ORDERS[camera, 3]]) for camera in (1, 2)]
    cameras[1] = cameras[1].T  # a row of cells, as MATLAB users may well save it
    savemat(sysu / MAT, {"rand_perm_cam": cell(cameras), "another": 1})
    return sysu


def permutations(root: Path) -> Permutations:
    found = read_permutations(root)
    assert found is not None
    return found


def test_no_file_of_draws(sysu: Path) -> None:
    assert read_permutations(sysu) is None


def test_frames_of_a_draw(drawn: Path) -> None:
    found = permutations(drawn)
    for (camera, person), expected in ORDERS.items():
        for draw in range(10):
            for shots in (1, 3, 10):
                frames = found.frames(camera, person, draw, shots)
                assert frames == expected[draw, :shots].tolist()
    assert sorted(found.frames(1, 3, 9, 10)) == [1, 2, 3, 4, 5]
    assert all(type(frame) is int for frame in found.frames(1, 1, 0, 2))
    assert found.frames(1, 2, 0, 1) == []


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ((0, 1, 0), "no camera 0, only 1 to 2"),
        ((3, 1, 0), "no camera 3, only 1 to 2"),
        ((1, 0, 0), "no person 0, only 1 to 3 in camera 1"),
        ((2, 4, 0), "no person 4, only 1 to 3 in camera 2"),
        ((1, 3, 10), "no draw 10, only 0 to 9 of person 3 in camera 1"),
        ((1, 3, -1), "no draw -1, only 0 to 9 of person 3 in camera 1"),
    ],
)
def test_draws_that_are_not_there(drawn: Path, asked: tuple[int, int, int], what: str) -> None:
    with pytest.raises(UserError) as caught:
        permutations(drawn).frames(*asked, shots=1)
    assert str(caught.value).startswith(f"{drawn / MAT}: has {what}; get it again")


def one_person(value: Any) -> dict[str, Any]:
    return {"rand_perm_cam": cell([cell([order(3, 0), value])])}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"other": 1}, "has no list of cameras by the name rand_perm_cam"),
        ({"rand_perm_cam": np.ones((6, 5))}, "has no list of cameras by the name rand_perm_cam"),
        (one_person(np.array([[1.0, 2.5]])), "camera 1, person 2: not rows of different frame numbers"),
        (one_person(np.array([[1.0, np.nan]])), "camera 1, person 2: not rows"),
        (one_person(np.array([[0, 1]])), "camera 1, person 2: not rows"),
        (one_person(np.array([[1, 2], [2, 2]])), "camera 1, person 2: not rows"),
        (one_person("text"), "camera 1, person 2: not rows"),
        (one_person(np.ones((1, 2, 2))), "camera 1, person 2: not rows"),
        (one_person(cell([order(2, 0)])), "camera 1, person 2: not rows"),
    ],
)
def test_other_contents_than_draws(sysu: Path, content: dict[str, Any], what: str) -> None:
    savemat(sysu / MAT, content)
    with pytest.raises(UserError) as caught:
        read_permutations(sysu)
    assert str(caught.value).startswith(f"{sysu / MAT}: {what}")
    assert "get it again from evaluation/data_split" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"MATLAB 5.0 MAT-file" + bytes(200)])
def test_a_file_that_is_no_mat_file(sysu: Path, content: bytes) -> None:
    (sysu / MAT).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_permutations(sysu)
    assert str(caught.value).startswith(f"{sysu / MAT}: ")
    assert "get it again" in str(caught.value)


def test_a_truncated_file_is_never_taken_for_whole(drawn: Path) -> None:
    whole = (drawn / MAT).read_bytes()
    for length in range(
        0, len(whole) - 300, 97
    ):  # what follows the variable, "another", is not asked for
        (drawn / MAT).write_bytes(whole[:length])
        with pytest.raises(UserError, match="get it again"):
            read_permutations(drawn)


def test_version_7_3_is_named(sysu: Path) -> None:
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (sysu / MAT).write_bytes(header + bytes(512))
    with pytest.raises(UserError, match=r"rand_perm_cam.mat: is of MATLAB version 7.3, .*h5py.*'-v7'"):
        read_permutations(sysu)
