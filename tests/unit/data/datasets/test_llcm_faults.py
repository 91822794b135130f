"""LLCM: the fault of every kind of bad folder."""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.data.datasets.llcm_cases import GOOD, TEST, TN, TRAIN, TV, Damage, line, touch
from tsme.data.datasets.llcm import read_llcm
from tsme.errors import UserError


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
    "not text": (write(TN, b"\xff\x00\x81"), f"{TN}: ", ("not UTF-8 or UTF-16 text",)),
    "empty list": (write(TV, b"\n \n"), f"{TV}: ", ("is empty",)),
    "no label": (line(TV, 2, GOOD), f"{TV}, line 2: ", (GOOD, "<relative path> <label>")),
    "label is a word": (line(TV, 1, f"{GOOD} zero"), f"{TV}, line 1: ", ("'zero'", "whole number")),
    "absolute path": (line(TV, 1, f"/data/{GOOD} 0"), f"{TV}, line 1: ", ("is absolute",)),
    "drive": (line(TN, 2, f"C:/LLCM/{GOOD} 0"), f"{TN}, line 2: ", ("is absolute",)),
    "climbing path": (line(TV, 1, "vis/../vis/0011/a.jpg 0"), f"{TV}, line 1: ", ("'..'",)),
    "folder is no identity": (
        line(TV, 3, "vis/anna/a.jpg 0"),
        f"{TV}, line 3: ",
        ("anna", "<identity>"),
    ),
    "identity zero": (line(TV, 3, "vis/0000/a.jpg 0"), f"{TV}, line 3: ", ("0000", "<identity>")),
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
    "no folder of an identity": (remove("nir/0011"), f"{TN}, line 1: ", ("nir/0011", "is missing")),
    "no folder of a modality": (remove("nir"), f"{TN}: ", ("folder 'nir'", "is missing")),
    "letters": (write(TEST, b"30,eight"), f"{TEST}, line 1: ", ("'eight'", "commas")),
    "identity twice": (write(TEST, b"30,8,\n30"), f"{TEST}, line 2: ", ("identity 30 is listed twice",)),
    "train and test": (write(TEST, b"30,8,5"), f"{TEST}, line 1: ", ("identity 5", f"{TV}, line 3")),
    "identity without image": (
        write(TEST, b"30,8,77"),
        f"{TEST}, line 1: ",
        ("identity 77", "test_*/cam*/0077"),
    ),
    **{f"no {folder}": (remove(folder), f"{folder}: ", ("folder is missing",)) for folder in CAMERAS},
    "one identity to train on": (
        both(line(TV, 3, ""), line(TN, 3, ""), line(TN, 2, "")),
        f"{TV}: ",
        ("only 1 of the training identities", "at least 2"),
    ),
    "one identity to test on": (write(TEST, b"8"), f"{TEST}: ", ("only 1 of the test identities",)),
}


@pytest.mark.parametrize(("damage", "place", "parts"), BAD.values(), ids=BAD.keys())
def test_bad_data_is_named(llcm: Path, damage: Damage, place: str, parts: tuple[str, ...]) -> None:
    assert read_llcm(llcm).faults == ()
    damage(llcm)
    first = read_llcm(llcm).faults[0]
    assert str(first).startswith(place)
    for part in parts:
        assert part in first.message
    with pytest.raises(UserError) as caught:
        read_llcm(llcm).trial(1)
    assert str(caught.value) == f"{llcm}/{first}"
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 500


def test_all_faults_are_found_and_the_rest_is_kept(llcm: Path) -> None:
    gone = TRAIN["nir"][2].split()[0]
    both(line(TV, 2, "vis"), line(TN, 2, f"{GOOD} x"), remove("test_vis/cam3"), remove(gone))(llcm)
    with (llcm / TN).open("a") as stream:
        stream.write("nir/0005/0005_c07_s1_f1_nir.jpg 1\n")
    touch(llcm, "nir/0005/0005_c07_s1_f1_nir.jpg")
    findings = read_llcm(llcm)
    assert [(fault.file, fault.line) for fault in findings.faults] == [
        (TV, 2),
        (TN, 2),
        (TN, 3),
        ("test_vis/cam3", None),
    ]
    (trial,) = findings.trials.values()
    assert trial.train.visible.identities.tolist() == [11, 5]
    assert trial.train.infrared.identities.tolist() == [11, 5]
    assert trial.train.infrared.cameras.tolist() == [1, 7]
    assert trial.test.visible.identities.tolist() == [30, 30]


def test_missing_folders_are_not_repeated_for_each_image_or_identity(llcm: Path) -> None:
    both(remove("vis"), remove("nir"), remove("test_vis"), remove("test_nir"))(llcm)
    assert [fault.file for fault in read_llcm(llcm).faults] == [TV, TN, *CAMERAS]


@pytest.mark.parametrize("label", [0, 2], ids=["two identities, one label", "one identity, two labels"])
def test_labels_that_contradict_the_folders_are_a_warning(llcm: Path, label: int) -> None:
    number = 3 if label == 0 else 2
    path = TRAIN["vis"][number - 1].split()[0]
    line(TV, number, f"{path} {label}")(llcm)
    findings = read_llcm(llcm)
    assert findings.faults == ()
    assert findings.trials[1].train.visible.identities.tolist() == [11, 11, 5]
    (warning,) = (text for text in findings.warnings if "label" in text)
    assert warning.startswith(f"{TV}, line {number}: label {label} and identity {11 if label else 5} ")


@given(content=st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_after_a_good_list_is_blank_or_a_fault(llcm: Path, content: bytes) -> None:
    path = llcm / TV
    good = path.read_bytes()
    path.write_bytes(good + content)
    try:
        blank = not content.decode(errors="replace").strip()
        assert blank == (not read_llcm(llcm).faults)
    finally:
        path.write_bytes(good)
