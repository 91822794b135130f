"""LLCM: what a good folder gives, and that every kind of bad one is named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tsme.data.llcm import Llcm
from tsme.errors import UserError

Damage = Callable[[Path], object]

TV, TN, TEST = "idx/train_vis.txt", "idx/train_nir.txt", "idx/test_id.txt"
# Of each modality, in the order of the lists; person 11 comes first with label 0.
TRAIN = {
    "vis": [
        "vis/0011/0011_c04_s185535_f7010_vis.jpg 0",
        "vis/0011/0011_c02_s185535_f7020_vis.jpg 0",
        "vis/0005/0005_c09_s200656_f4830_vis.jpg 1",
    ],
    "nir": [
        "nir/0011/0011_c01_s185535_f7010_nir.jpg 0",
        "nir/0005/0005_c09_s200656_f4830_nir.jpg 1",
        "nir/0005/0005_c06_s200656_f4840_nir.jpg 1",
    ],
}
GOOD = TRAIN["vis"][0].split()[0]
# Modality, camera -> test people.
TESTED = {("vis", 3): (8, 30), ("vis", 1): (30,), ("nir", 1): (8,), ("nir", 9): (30, 8)}


def touch(root: Path, path: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).touch()


@pytest.fixture
def llcm(tmp_path: Path) -> Path:
    root = tmp_path / "LLCM"
    (root / "idx").mkdir(parents=True)
    for modality, lines in TRAIN.items():
        for line in lines:
            touch(root, line.split()[0])
        (root / f"idx/train_{modality}.txt").write_text("\n".join(lines) + "\n")
        for camera in range(1, 10):
            if (modality, camera) == ("nir", 3):
                continue
            (root / f"test_{modality}/cam{camera}").mkdir(parents=True)
            for person in TESTED.get((modality, camera), ()):
                for frame in (20, 7):
                    name = f"{person:04d}_c{camera:02d}_s1_f{frame:04d}_{modality}.jpg"
                    touch(root, f"test_{modality}/cam{camera}/{person:04d}/{name}")
    touch(root, "test_vis/cam1/0099/0099_c01_s1_f0001_vis.jpg")  # of nobody in the list
    (root / TEST).write_text("30,8\n")
    return root


def test_training_images_keep_the_order_of_their_lists(llcm: Path) -> None:
    trial = Llcm(llcm).read(1)
    for modality, images in (("vis", trial.train.visible), ("nir", trial.train.infrared)):
        assert images.paths == tuple(line.split()[0] for line in TRAIN[modality])
        assert images.identities.dtype == images.cameras.dtype == "int64"
        assert images.root == llcm
    assert trial.train.visible.identities.tolist() == [11, 11, 5]
    assert trial.train.visible.cameras.tolist() == [4, 2, 9]
    assert trial.train.infrared.identities.tolist() == [11, 5, 5]
    assert trial.train.infrared.cameras.tolist() == [1, 9, 6]
    assert (trial.train.visible.modality, trial.train.infrared.modality) == ("visible", "infrared")
    assert (trial.number, trial.validation) == (1, ())


def test_test_images_go_by_identity_then_camera_then_name(llcm: Path) -> None:
    test = Llcm(llcm).read(1).test
    assert test.visible.paths == (
        "test_vis/cam3/0008/0008_c03_s1_f0007_vis.jpg",
        "test_vis/cam3/0008/0008_c03_s1_f0020_vis.jpg",
        "test_vis/cam1/0030/0030_c01_s1_f0007_vis.jpg",
        "test_vis/cam1/0030/0030_c01_s1_f0020_vis.jpg",
        "test_vis/cam3/0030/0030_c03_s1_f0007_vis.jpg",
        "test_vis/cam3/0030/0030_c03_s1_f0020_vis.jpg",
    )
    assert test.visible.identities.tolist() == [8, 8, 30, 30, 30, 30]
    assert test.visible.cameras.tolist() == [3, 3, 1, 1, 3, 3]
    assert test.infrared.identities.tolist() == [8, 8, 8, 8, 30, 30]
    assert test.infrared.cameras.tolist() == [1, 1, 9, 9, 9, 9]


def test_a_night_camera_3_is_read_where_there_is_one(llcm: Path) -> None:
    touch(llcm, "test_nir/cam3/0008/a.jpg")
    assert Llcm(llcm).read(1).test.infrared.cameras.tolist() == [1, 1, 3, 9, 9, 9, 9]


@pytest.mark.parametrize(
    ("path", "identity", "camera"),
    [
        ("train/cam12/0011/a b.PNG", 11, 12),
        ("vis/0011/0011_c7_x_vis.jpeg", 11, 7),
        ("vis/cam3/0011/0011_c05_x.bmp", 11, 5),
        ("vis/11/0011c05.jpg", 11, -1),
        ("0011/é.jpg", 11, -1),
    ],
)
def test_other_paths_that_tell_the_person(llcm: Path, path: str, identity: int, camera: int) -> None:
    touch(llcm, path)
    line(TV, 1, f"{path} 0")(llcm)
    visible = Llcm(llcm).read(1).train.visible
    assert visible.paths[0] == path
    assert (visible.identities[0], visible.cameras[0]) == (identity, camera)


def test_a_name_that_tells_no_camera_is_a_warning(llcm: Path) -> None:
    touch(llcm, "vis/0011/plain.jpg")
    line(TV, 1, "vis/0011/plain.jpg 0")(llcm)
    found = Llcm(llcm).examine()
    assert found.faults == ()
    told = "1 names do not tell the camera, the first vis/0011/plain.jpg"
    assert any(told in warning for warning in found.warnings)


@pytest.mark.parametrize("name", ["0008_c07_s1_f1_vis.jpg", "0030_c03_s1_f1_vis.jpg"])
def test_a_test_image_in_anothers_folder_is_named(llcm: Path, name: str) -> None:
    touch(llcm, f"test_vis/cam3/0008/{name}")
    (fault,) = Llcm(llcm).examine().faults
    assert fault.file == f"test_vis/cam3/0008/{name}" and "unlike its folder" in fault.message


def test_windows_line_ends_byte_order_mark_and_blank_lines_are_read(llcm: Path) -> None:
    expected = Llcm(llcm).read(1).train.visible.paths
    content = (llcm / TV).read_bytes().replace(b"\n", b"\r\n")
    (llcm / TV).write_bytes(b"\xef\xbb\xbf" + content + b"\r\n")
    assert Llcm(llcm).read(1).train.visible.paths == expected


def test_lists_are_the_files_there_are(llcm: Path) -> None:
    assert Llcm(llcm).lists() == [TV, TN, TEST]
    (llcm / TN).unlink()
    assert Llcm(llcm).lists() == [TV, TEST]


def line(file: str, number: int, text: str) -> Damage:
    """Replaces line `number` of a list; the lines after it move up if `text` is empty."""

    def damage(root: Path) -> None:
        lines = (root / file).read_text().splitlines(keepends=True)
        lines[number - 1 : number] = [text + "\n"] if text else []
        (root / file).write_text("".join(lines))

    return damage


def both(*damages: Damage) -> Damage:
    return lambda root: [damage(root) for damage in damages]


def remove(path: str) -> Damage:
    return lambda root: shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()


def write(file: str, content: bytes) -> Damage:
    return lambda root: (root / file).write_bytes(content)


CAMERAS = [f"test_{m}/cam{n}" for m in ("vis", "nir") for n in range(1, 10) if (m, n) != ("nir", 3)]

# Name -> damage, where the first fault is, and what its message holds.
BAD: dict[str, tuple[Damage, str, tuple[str, ...]]] = {
    "no visible list": (remove(TV), f"{TV}: ", ("is missing",)),
    "no infrared list": (remove(TN), f"{TN}: ", ("is missing",)),
    "no test list": (remove(TEST), f"{TEST}: ", ("is missing",)),
    "not text": (write(TN, b"\xff\xfe\x00\x81"), f"{TN}: ", ("not UTF-8 text",)),
    "empty list": (write(TV, b"\n \n"), f"{TV}: ", ("is empty",)),
    "no label": (line(TV, 2, GOOD), f"{TV}, line 2: ", (GOOD, "<relative path> <label>")),
    "label is a word": (line(TV, 1, f"{GOOD} zero"), f"{TV}, line 1: ", ("'zero'", "whole number")),
    "absolute path": (line(TV, 1, f"/data/{GOOD} 0"), f"{TV}, line 1: ", ("is absolute",)),
    "drive": (line(TN, 2, f"C:/LLCM/{GOOD} 0"), f"{TN}, line 2: ", ("is absolute",)),
    "climbing path": (line(TV, 1, "vis/../vis/0011/a.jpg 0"), f"{TV}, line 1: ", ("'..'",)),
    "folder is no person": (
        line(TV, 3, "vis/anna/a.jpg 0"),
        f"{TV}, line 3: ",
        ("anna", "<person's number>"),
    ),
    "person zero": (line(TV, 3, "vis/0000/a.jpg 0"), f"{TV}, line 3: ", ("0000", "<person's number>")),
    "not an image": (line(TV, 1, "vis/0011/a.txt 0"), f"{TV}, line 1: ", ("a.txt", "does not follow")),
    "beyond int64": (line(TV, 1, f"vis/{'9' * 20}/a.jpg 0"), f"{TV}, line 1: ", ("does not follow",)),
    "zero byte": (line(TV, 1, "vis/0011\0/0011/a.jpg 0"), f"{TV}, line 1: ", ("is missing",)),
    "endless folder": (
        line(TV, 1, f"{'v' * 5000}/0011/a.jpg 0"),
        f"{TV}: ",
        ("folder 'vvv", "is missing"),
    ),
    "listed twice": (line(TV, 2, f"{GOOD} 0"), f"{TV}, line 2: ", (GOOD, "already on line 1")),
    "no image": (remove(GOOD), f"{TV}, line 1: ", (GOOD, "is missing")),
    "image is a folder": (
        both(remove(GOOD), lambda root: (root / GOOD).mkdir()),
        f"{TV}, line 1: ",
        (GOOD, "is missing"),
    ),
    "no folder of a person": (remove("nir/0011"), f"{TN}, line 1: ", ("nir/0011", "is missing")),
    "no folder of a modality": (remove("nir"), f"{TN}: ", ("folder 'nir'", "is missing")),
    "letters": (write(TEST, b"30,eight"), f"{TEST}, line 1: ", ("'eight'", "commas")),
    "person twice": (write(TEST, b"30,8,\n30"), f"{TEST}, line 2: ", ("person 30 is listed twice",)),
    "train and test": (write(TEST, b"30,8,5"), f"{TEST}, line 1: ", ("person 5", f"{TV}, line 3")),
    "person without image": (
        write(TEST, b"30,8,77"),
        f"{TEST}, line 1: ",
        ("person 77", "test_*/cam*/0077"),
    ),
    **{f"no {folder}": (remove(folder), f"{folder}: ", ("folder is missing",)) for folder in CAMERAS},
    "one person to train on": (
        both(line(TV, 3, ""), line(TN, 3, ""), line(TN, 2, "")),
        f"{TV}: ",
        ("only 1 of the training people", "at least 2"),
    ),
    "one person to test on": (write(TEST, b"8"), f"{TEST}: ", ("only 1 of the test people",)),
}


@pytest.mark.parametrize(("damage", "place", "parts"), BAD.values(), ids=BAD.keys())
def test_bad_data_is_named(llcm: Path, damage: Damage, place: str, parts: tuple[str, ...]) -> None:
    assert Llcm(llcm).examine().faults == ()
    damage(llcm)
    first = Llcm(llcm).examine().faults[0]
    assert str(first).startswith(place)
    for part in parts:
        assert part in first.message
    with pytest.raises(UserError) as caught:
        Llcm(llcm).read(1)
    assert str(caught.value) == f"{llcm}/{first}"
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 500


def test_all_faults_are_found_and_the_rest_is_kept(llcm: Path) -> None:
    gone = TRAIN["nir"][2].split()[0]
    both(line(TV, 2, "vis"), line(TN, 2, f"{GOOD} x"), remove("test_vis/cam3"), remove(gone))(llcm)
    with (llcm / TN).open("a") as stream:
        stream.write("nir/0005/0005_c07_s1_f1_nir.jpg 1\n")
    touch(llcm, "nir/0005/0005_c07_s1_f1_nir.jpg")
    findings = Llcm(llcm).examine()
    assert [(fault.file, fault.line) for fault in findings.faults] == [
        (TV, 2),
        (TN, 2),
        (TN, 3),
        ("test_vis/cam3", None),
    ]
    (trial,) = findings.trials
    assert trial.train.visible.identities.tolist() == [11, 5]
    assert trial.train.infrared.identities.tolist() == [11, 5]
    assert trial.train.infrared.cameras.tolist() == [1, 7]
    assert trial.test.visible.identities.tolist() == [30, 30]


def test_lost_folders_are_not_told_again_of_each_image_or_person(llcm: Path) -> None:
    both(remove("vis"), remove("nir"), remove("test_vis"), remove("test_nir"))(llcm)
    assert [fault.file for fault in Llcm(llcm).examine().faults] == [TV, TN, *CAMERAS]


def test_people_in_one_modality_are_not_trained_on(llcm: Path) -> None:
    extra = "vis/0002/0002_c01_x_vis.jpg"
    touch(llcm, extra)
    touch(llcm, extra.replace("0002", "0012"))
    with (llcm / TV).open("a") as stream:
        stream.write(f"{extra} 2\n" + extra.replace("0002", "0012") + " 3\n")
    findings = Llcm(llcm).examine()
    assert findings.faults == ()
    assert findings.trials[0].train.visible.identities.tolist() == [11, 11, 5]
    (warning,) = (text for text in findings.warnings if "one modality" in text)
    assert warning.startswith("2 training people") and "first 2;" in warning
    # As many as are listed, although two are left out.
    assert "4 training people; the published LLCM has 713" in findings.warnings


def test_counts_are_compared_with_the_published(llcm: Path) -> None:
    assert Llcm(llcm).examine().warnings == (
        "2 training people; the published LLCM has 713",
        "3 visible training images; the published LLCM has 16946",
        "3 infrared training images; the published LLCM has 13975",
        f"2 people in {TEST}; the published LLCM has 351",
    )


@pytest.mark.parametrize("label", [0, 2], ids=["two people, one label", "one person, two labels"])
def test_labels_that_contradict_the_folders_are_a_warning(llcm: Path, label: int) -> None:
    number = 3 if label == 0 else 2
    path = TRAIN["vis"][number - 1].split()[0]
    line(TV, number, f"{path} {label}")(llcm)
    findings = Llcm(llcm).examine()
    assert findings.faults == ()
    assert findings.trials[0].train.visible.identities.tolist() == [11, 11, 5]
    (warning,) = (text for text in findings.warnings if "label" in text)
    assert warning.startswith(f"{TV}, line {number}: label {label} and folder {11 if label else 5} ")


@pytest.mark.parametrize("trial", [0, 2])
def test_there_is_one_trial(llcm: Path, trial: int) -> None:
    assert Llcm(llcm).trials() == [1]
    with pytest.raises(UserError, match=f"^trial {trial}: LLCM has only trial 1$"):
        Llcm(llcm).read(trial)


def test_another_folder_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "SYSU/cam1").mkdir(parents=True)
    for folder, what in (
        (tmp_path / "absent", "no such folder"),
        (tmp_path / "SYSU", "this is no LLCM folder"),
    ):
        for ask in (Llcm(folder).trials, Llcm(folder).examine, lambda at=folder: Llcm(at).read(1)):
            with pytest.raises(UserError, match=f"{what}.*idx, vis, nir, test_vis, test_nir"):
                ask()


@given(content=st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_after_a_good_list_is_blank_or_a_fault(llcm: Path, content: bytes) -> None:
    path = llcm / TV
    good = path.read_bytes()
    path.write_bytes(good + content)
    try:
        blank = not content.decode(errors="replace").strip()
        assert blank == (not Llcm(llcm).examine().faults)
    finally:
        path.write_bytes(good)
