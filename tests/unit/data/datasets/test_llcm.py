"""LLCM: what is read from a good folder."""

from pathlib import Path

import pytest

from tests.unit.data.datasets.llcm_cases import TEST, TN, TRAIN, TV, line, touch
from tsme.data.datasets.llcm import read_llcm
from tsme.errors import UserError


def test_training_images_keep_the_order_of_their_lists(llcm: Path) -> None:
    trial = read_llcm(llcm).trial(1)
    for modality, images in (("vis", trial.train.visible), ("nir", trial.train.infrared)):
        assert images.paths == tuple(line.split()[0] for line in TRAIN[modality])
        assert images.identities.dtype == images.cameras.dtype == "int64"
    assert trial.train.visible.identities.tolist() == [11, 11, 5]
    assert trial.train.visible.cameras.tolist() == [4, 2, 9]
    assert trial.train.infrared.identities.tolist() == [11, 5, 5]
    assert trial.train.infrared.cameras.tolist() == [1, 9, 6]
    assert (trial.train.visible.modality, trial.train.infrared.modality) == ("visible", "infrared")
    assert (trial.number, trial.validation) == (1, ())


def test_test_images_are_sorted_by_identity_camera_and_name(llcm: Path) -> None:
    test = read_llcm(llcm).trial(1).test
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


def test_an_infrared_camera_3_is_read_if_there_is_one(llcm: Path) -> None:
    touch(llcm, "test_nir/cam3/0008/a.jpg")
    assert read_llcm(llcm).trial(1).test.infrared.cameras.tolist() == [1, 1, 3, 9, 9, 9, 9]


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
def test_other_paths_that_contain_the_identity(llcm: Path, path: str, identity: int, camera: int) -> None:
    touch(llcm, path)
    line(TV, 1, f"{path} 0")(llcm)
    visible = read_llcm(llcm).trial(1).train.visible
    assert visible.paths[0] == path
    assert (visible.identities[0], visible.cameras[0]) == (identity, camera)


def test_a_name_without_a_camera_is_a_warning(llcm: Path) -> None:
    touch(llcm, "vis/0011/plain.jpg")
    line(TV, 1, "vis/0011/plain.jpg 0")(llcm)
    found = read_llcm(llcm)
    assert found.faults == ()
    message = "1 names do not contain the camera, the first vis/0011/plain.jpg"
    assert any(message in warning for warning in found.warnings)


@pytest.mark.parametrize("name", ["0008_c07_s1_f1_vis.jpg", "0030_c03_s1_f1_vis.jpg"])
def test_a_test_image_in_the_wrong_folder_is_named(llcm: Path, name: str) -> None:
    touch(llcm, f"test_vis/cam3/0008/{name}")
    (fault,) = read_llcm(llcm).faults
    assert fault.file == f"test_vis/cam3/0008/{name}" and "unlike its folder" in fault.message


def test_windows_line_ends_byte_order_mark_and_blank_lines_are_read(llcm: Path) -> None:
    expected = read_llcm(llcm).trial(1).train.visible.paths
    content = (llcm / TV).read_bytes().replace(b"\n", b"\r\n")
    (llcm / TV).write_bytes(b"\xef\xbb\xbf" + content + b"\r\n")
    assert read_llcm(llcm).trial(1).train.visible.paths == expected


def test_lists_are_the_existing_files(llcm: Path) -> None:
    assert read_llcm(llcm).lists.keys() == {TV, TN, TEST}
    (llcm / TN).unlink()
    assert read_llcm(llcm).lists.keys() == {TV, TEST}


def test_identities_in_one_modality_are_not_trained_on(llcm: Path) -> None:
    extra = "vis/0002/0002_c01_x_vis.jpg"
    touch(llcm, extra)
    touch(llcm, extra.replace("0002", "0012"))
    with (llcm / TV).open("a") as stream:
        stream.write(f"{extra} 2\n" + extra.replace("0002", "0012") + " 3\n")
    findings = read_llcm(llcm)
    assert findings.faults == ()
    assert findings.trials[1].train.visible.identities.tolist() == [11, 11, 5]
    (warning,) = (text for text in findings.warnings if "one modality" in text)
    assert warning.startswith("2 training identities") and "first 2;" in warning
    # As many as are listed, although two are left out.
    assert "4 training identities; the published LLCM has 713" in findings.warnings


def test_counts_are_compared_with_the_published(llcm: Path) -> None:
    assert read_llcm(llcm).warnings == (
        "2 training identities; the published LLCM has 713",
        "3 visible training images; the published LLCM has 16946",
        "3 infrared training images; the published LLCM has 13975",
        f"2 identities in {TEST}; the published LLCM has 351",
    )


@pytest.mark.parametrize("trial", [0, 2])
def test_there_is_one_trial(llcm: Path, trial: int) -> None:
    assert read_llcm(llcm).trials.keys() == {1}
    with pytest.raises(UserError, match=f"^trial {trial}: {llcm} has only trial 1$"):
        read_llcm(llcm).trial(trial)


def test_a_folder_of_another_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "SYSU/cam1").mkdir(parents=True)
    for folder, what in (
        (tmp_path / "absent", "no such folder"),
        (tmp_path / "SYSU", "this is no LLCM folder"),
    ):
        with pytest.raises(UserError, match=f"{what}.*idx, vis, nir, test_vis, test_nir"):
            read_llcm(folder)
