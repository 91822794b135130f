"""RegDB: what is read from a good folder, and the fault of every kind of bad one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tsme.data.datasets.regdb import read_regdb
from tsme.errors import UserError

Damage = Callable[[Path], object]


def line(file: str, number: int, text: str) -> Damage:
    """Replaces line `number` of a list; the lines after it move up if `text` is empty."""

    def damage(root: Path) -> None:
        lines = (root / file).read_text().splitlines(keepends=True)
        lines[number - 1 : number] = [text + "\n"] if text else []
        (root / file).write_text("".join(lines))

    return damage


def both(*damages: Damage) -> Damage:
    return lambda root: [damage(root) for damage in damages]


def write(file: str, content: bytes) -> Damage:
    return lambda root: (root / file).write_bytes(content)


def relabel(file: str, old: int, new: int) -> Damage:
    def damage(root: Path) -> None:
        text = (root / file).read_text()
        (root / file).write_text(text.replace(f".bmp {old}\n", f".bmp {new}\n"))

    return damage


def drop(file: str, identity: int) -> Damage:
    def damage(root: Path) -> None:
        lines = (root / file).read_text().splitlines(keepends=True)
        kept = [text for text in lines if f"/{identity}/" not in text]
        (root / file).write_text("".join(kept))

    return damage


def folder_for_file(root: Path) -> None:
    (root / ET).unlink()
    (root / ET).mkdir()


def folder_for_image(root: Path) -> None:
    (root / GOOD).unlink()
    (root / GOOD).mkdir()


def file_for_folder(root: Path) -> None:
    shutil.rmtree(root / "Visible")
    (root / "Visible").touch()


TV, TT = "idx/train_visible_1.txt", "idx/train_thermal_1.txt"
EV, ET = "idx/test_visible_1.txt", "idx/test_thermal_1.txt"
GOOD = "Visible/285/male_back_v_00001_285.bmp"

# Name -> damage to trial 1, and what the message must hold.
BAD: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "no root": (lambda root: shutil.rmtree(root), ("no such folder",)),
    "no folder": (lambda root: shutil.rmtree(root / "Thermal"), ("/Thermal: ", "folder is missing")),
    "folder is a file": (file_for_folder, ("/Visible: ", "Not a directory")),
    "no list": (lambda root: (root / ET).unlink(), (ET + ": file is missing",)),
    "list is a folder": (
        folder_for_file,
        (ET + ": file cannot be read", "Is a directory"),
    ),
    "not text": (write(TT, b"\xff\x00\x81"), (TT + ": file is not UTF-8 or UTF-16 text",)),
    "empty list": (write(TV, b""), (TV + ": list is empty",)),
    "blank list": (write(EV, b"\n \r\n"), (EV + ": list is empty",)),
    "no label": (line(TV, 2, GOOD), (TV + ", line 2", GOOD, "<relative path> <label>")),
    "label is a word": (line(TV, 1, GOOD + " zero"), (TV + ", line 1", "'zero'", "whole number")),
    "negative label": (line(TV, 1, GOOD + " -1"), (TV + ", line 1", "'-1'", "whole number")),
    "endless label": (line(TV, 1, GOOD + " " + "9" * 5000), (TV + ", line 1", "9...'", "whole")),
    "folder is not the identity": (
        line(TV, 1, "Visible/285/male_back_v_00001_284.bmp 0"),
        (TV + ", line 1", "folder 285", "ends in 284"),
    ),
    "name without identity": (
        line(TV, 1, "Visible/285/male_back.bmp 0"),
        (TV + ", line 1", "male_back.bmp", "does not follow"),
    ),
    "folder without identity": (
        line(TV, 1, "Visible/anna/male_back_285.bmp 0"),
        (TV + ", line 1", "anna", "does not follow"),
    ),
    "identity beyond int64": (
        line(TV, 1, "Visible/99999999999999999999/v_99999999999999999999.bmp 0"),
        (TV + ", line 1", "does not follow"),
    ),
    "not an image": (
        line(TV, 1, "Visible/285/notes_285.txt 0"),
        (TV + ", line 1", "notes_285.txt", "does not follow"),
    ),
    "too deep": (
        line(TV, 1, "Visible/old//285/v_285.bmp 0"),
        (TV + ", line 1", "Visible/old/285", "does not follow"),
    ),
    "absolute path": (line(TV, 1, f"/data/{GOOD} 0"), (TV + ", line 1", "is absolute")),
    "drive": (line(TV, 1, f"C:/RegDB/{GOOD} 0"), (TV + ", line 1", "is absolute")),
    "climbing path": (
        line(TV, 1, "Visible/../../RegDB/Visible/285/v_285.bmp 0"),
        (TV + ", line 1", "'..'"),
    ),
    "thermal in visible": (
        line(TV, 1, "Thermal/285/male_back_t_00001_285.bmp 0"),
        (TV + ", line 1", "not in the Visible folder"),
    ),
    "visible in thermal": (line(TT, 1, GOOD + " 0"), (TT + ", line 1", "not in the Thermal folder")),
    "listed twice": (line(TV, 2, GOOD + " 0"), (TV + ", line 2", GOOD, "already on line 1")),
    "no image": (lambda root: (root / GOOD).unlink(), (TV + ", line 1", GOOD, "is missing")),
    "image is a folder": (folder_for_image, (TV + ", line 1", GOOD, "is missing")),
    "identity in train and test": (
        both(
            line(EV, 3, "Visible/12/male_back_v_00001_12.bmp 1"),
            line(EV, 4, "Visible/12/male_back_v_00002_12.bmp 1"),
            line(ET, 3, "Thermal/12/male_back_t_00001_12.bmp 1"),
            line(ET, 4, "Thermal/12/male_back_t_00002_12.bmp 1"),
        ),
        (EV + ", line 3", "identity 12", "also in the training lists"),
    ),
    "visible only": (drop(TT, 12), (TV + ", line 5", "identity 12 is not in " + TT)),
    "thermal only": (drop(TV, 12), (TT + ", line 5", "identity 12 is not in " + TV)),
    "one identity": (both(drop(EV, 30), drop(ET, 30)), (EV + ": ", "only 1 identity", "at least 2")),
}


@pytest.mark.parametrize(("damage", "parts"), BAD.values(), ids=BAD.keys())
def test_bad_data_is_named(regdb: Path, damage: Damage, parts: tuple[str, ...]) -> None:
    read_regdb(regdb).trial(1)
    damage(regdb)
    with pytest.raises(UserError) as caught:
        read_regdb(regdb).trial(1)
    message = str(caught.value)
    assert message.startswith(str(regdb))
    assert len(message.splitlines()) == 1 and len(message) < 500
    for part in parts:
        assert part in message


def test_identities_are_the_folder_numbers_in_list_order(regdb: Path) -> None:
    trial = read_regdb(regdb).trial(1)
    assert trial.number == 1
    assert trial.train.visible.identities.tolist() == [285, 285, 3, 3, 12, 12]
    assert trial.train.infrared.identities.tolist() == [285, 285, 3, 3, 12, 12]
    assert trial.test.visible.identities.tolist() == [8, 8, 30, 30]
    assert trial.train.visible.identities.dtype == "int64"
    assert trial.train.visible.paths[0] == GOOD
    assert trial.test.infrared.paths[-1] == "Thermal/30/male_back_t_00002_30.bmp"
    assert (trial.test.visible.modality, trial.test.infrared.modality) == ("visible", "infrared")
    assert set(trial.train.visible.cameras.tolist()) == {1}
    assert set(trial.test.infrared.cameras.tolist()) == {2}
    assert trial.validation == ()


@pytest.mark.parametrize("name", ["v 1_285.png", "285.jpg", "v_0285.JPEG", "vé_285.BMP"])
def test_harmless_differences_of_names_are_read(regdb: Path, name: str) -> None:
    (regdb / GOOD).rename(regdb / "Visible/285" / name)
    line(TV, 1, f"Visible/285/{name} 0")(regdb)
    trial = read_regdb(regdb).trial(1)
    assert trial.train.visible.paths[0] == f"Visible/285/{name}"
    assert trial.train.visible.identities[0] == 285


# Name -> a change of labels, and the lists whose labels then contradict their identities.
LABELS: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "label gap": (both(relabel(TV, 2, 7), relabel(TT, 2, 7)), ()),
    "labels from 1": (both(*(relabel(EV, old, old + 1) for old in (1, 0))), ()),
    "labels differ by modality": (both(relabel(ET, 0, 9), relabel(ET, 1, 0), relabel(ET, 9, 1)), ()),
    "two identities, one label": (relabel(TV, 2, 1), (f"{TV}, line 5: label 1 and identity 12 ",)),
    "one identity, two labels": (
        line(TT, 2, "Thermal/285/male_back_t_00002_285.bmp 3"),
        (f"{TT}, line 2: label 3 and identity 285 ",),
    ),
}


@pytest.mark.parametrize(("change", "contradictions"), LABELS.values(), ids=LABELS.keys())
def test_labels_are_not_used(regdb: Path, change: Damage, contradictions: tuple[str, ...]) -> None:
    """The folder's number is the identity; contradictory labels are a warning."""
    expected = read_regdb(regdb).trial(1).train.visible.identities.tolist()
    change(regdb)
    dataset = read_regdb(regdb)
    assert dataset.faults == ()
    assert dataset.trial(1).train.visible.identities.tolist() == expected
    found = [warning for warning in dataset.warnings if "label" in warning]
    assert len(found) == len(contradictions)
    for warning, start in zip(found, contradictions, strict=True):
        assert warning.startswith(start)


def test_a_subset_of_the_identities_is_sound(regdb: Path) -> None:
    for file in (TV, TT):
        drop(file, 3)(regdb)
    dataset = read_regdb(regdb)
    assert dataset.faults == ()
    assert dataset.trial(1).train.identities == [12, 285]


def test_windows_line_ends_byte_order_mark_and_blank_lines_are_read(regdb: Path) -> None:
    expected = read_regdb(regdb).trial(1).train.visible.paths
    content = (regdb / TV).read_bytes().replace(b"\n", b"\r\n")
    (regdb / TV).write_bytes(b"\xef\xbb\xbf" + content + b"\r\n")
    assert read_regdb(regdb).trial(1).train.visible.paths == expected


@pytest.mark.parametrize("trial", [0, 11, -1])
def test_trial_out_of_range(regdb: Path, trial: int) -> None:
    with pytest.raises(UserError, match=f"^trial {trial}: {regdb} has only trials 1, 2$"):
        read_regdb(regdb).trial(trial)


def test_trials_with_some_and_with_all_lists(regdb: Path) -> None:
    dataset = read_regdb(regdb)
    assert [*dataset.trials] == [*dataset.faults_by_trial] == [1, 2]
    assert len(dataset.lists) == 8 and dataset.faults == ()
    (regdb / TV).unlink()
    dataset = read_regdb(regdb)
    assert [*dataset.trials] == [2]
    assert sorted(dataset.lists) == sorted(
        f"idx/{split}_{modality}_2.txt"
        for split in ("train", "test")
        for modality in ("visible", "thermal")
    )
    assert [str(fault) for fault in dataset.faults_by_trial[1]] == [
        f"{TV}: file is missing; restore it from the data set's archive"
    ]
    assert dataset.faults_by_trial[2] == ()


def test_no_trial_at_all(regdb: Path) -> None:
    (regdb / TV).unlink()
    (regdb / "idx/test_thermal_2.txt").unlink()
    dataset = read_regdb(regdb)
    assert not dataset.trials and len(dataset.faults) == 2
    with pytest.raises(UserError, match=f"^{regdb}/{TV}: file is missing"):
        dataset.trial(1)
    for file in (regdb / "idx").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"RegDB: no trial .* expected idx/\{train,test\}_"):
        read_regdb(regdb)
    with pytest.raises(UserError, match="no such folder"):
        read_regdb(regdb / "absent")


@given(content=st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_after_a_good_list_is_blank_or_a_fault(regdb: Path, content: bytes) -> None:
    path = regdb / TV
    good = path.read_bytes()
    path.write_bytes(good + content)
    try:
        if not content.decode(errors="replace").strip():
            assert len(read_regdb(regdb).trial(1).train.visible) == 6
            return
        with pytest.raises(UserError) as caught:
            read_regdb(regdb).trial(1)
        assert len(str(caught.value).splitlines()) == 1
    finally:
        path.write_bytes(good)
