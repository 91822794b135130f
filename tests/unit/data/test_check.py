"""The check of a data set: counts, overlaps, and every fault at once."""

import itertools
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tsme.data.check import CameraCounts, ImageSizes, SplitCounts, TrialCounts, check
from tsme.data.datasets.regdb import read_regdb
from tsme.data.types import Fault
from tsme.errors import UserError

GOOD = "Visible/285/male_back_v_00001_285.bmp"


def test_a_good_folder_is_counted(regdb: Path) -> None:
    Image.new("RGB", (9, 10)).save(regdb / GOOD)
    report = check(read_regdb(regdb))
    assert report.ok and report.faults == ()
    assert report.trials == (
        TrialCounts(1, SplitCounts(3, 6, 6), SplitCounts(2, 4, 4)),
        TrialCounts(2, SplitCounts(2, 4, 4), SplitCounts(3, 6, 6)),
    )
    assert (report.identities, report.images) == (5, 20)
    assert report.cameras == (CameraCounts(1, "visible", 5, 10), CameraCounts(2, "infrared", 5, 10))
    assert report.sizes == ImageSizes(min_width=6, max_width=9, min_height=10, max_height=12)


def test_overlap_of_test_identities_with_other_trials_training_identities(regdb: Path) -> None:
    seen = check(read_regdb(regdb)).seen
    # Trial 1 tests on 8, 30, of which trial 2 trains on 8; trial 2's 12, 285 are trained in 1.
    assert seen == {(1, 1): 0, (1, 2): 1, (2, 1): 2, (2, 2): 0}


def test_progress_counts_every_image_once(regdb: Path) -> None:
    calls: list[tuple[int, int]] = []
    check(read_regdb(regdb), lambda done, total: calls.append((done, total)))
    assert calls == [(done, 20) for done in range(1, 21)]


def test_all_faults_are_reported(regdb: Path) -> None:
    (regdb / "Thermal/3/male_back_t_00001_3.bmp").write_bytes(b"BM and nothing more")
    (regdb / "Visible/30/male_back_v_00002_30.bmp").unlink()
    (regdb / "idx/train_visible_2.txt").unlink()
    with (regdb / "idx/test_visible_1.txt").open("a") as stream:
        stream.write(f"{GOOD} many\n")
    report = check(read_regdb(regdb))
    assert not report.ok
    places = [(fault.file, fault.line) for fault in report.faults]
    assert places == [
        ("idx/test_visible_1.txt", 5),
        ("idx/test_visible_1.txt", 4),
        ("idx/train_visible_2.txt", None),
        ("idx/test_visible_2.txt", 6),
        ("Thermal/3/male_back_t_00001_3.bmp", None),
    ]
    wrong_label, gone, no_list, gone_again, corrupt = (fault.message for fault in report.faults)
    assert "'many'" in wrong_label
    assert "male_back_v_00002_30.bmp' is missing" in gone and gone_again == gone
    assert "file is missing" in no_list
    assert corrupt.startswith("cannot be read as an image")


def test_truncated_image_is_a_fault_that_names_it(regdb: Path) -> None:
    (regdb / GOOD).write_bytes((regdb / GOOD).read_bytes()[:-10])
    (fault,) = check(read_regdb(regdb)).faults
    assert fault.file == GOOD and "truncated" in fault.message
    assert str(fault) == f"{GOOD}: {fault.message}"
    assert str(regdb) not in str(fault)


def test_fault_names_file_and_line() -> None:
    assert str(Fault("idx/a.txt", 7, "is wrong; mend it")) == "idx/a.txt, line 7: is wrong; mend it"


def test_counts_that_differ_from_the_published_are_warnings(regdb: Path) -> None:
    report = check(read_regdb(regdb))
    assert report.ok
    assert report.warnings == (
        "only trials 1, 2; the published RegDB has 10",
        "5 identities; the published RegDB has 412",
        "trials 1, 2: not the published 206 identities in every split",
        "trials 1, 2: not the published 2060 images in every list",
    )


def test_published_counts_are_no_warning(regdb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder's own counts replace the published ones."""
    monkeypatch.setattr("tsme.data.datasets.regdb.TRIALS", 2)
    monkeypatch.setattr("tsme.data.datasets.regdb._PUBLISHED_IDENTITIES", 5)
    monkeypatch.setattr("tsme.data.datasets.regdb._PUBLISHED_SPLIT", 2)
    monkeypatch.setattr("tsme.data.datasets.regdb._PUBLISHED_IMAGES", 4)
    for trial, modality in itertools.product((1, 2), ("visible", "thermal")):
        split = "train" if trial == 1 else "test"
        path = regdb / f"idx/{split}_{modality}_{trial}.txt"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
    assert check(read_regdb(regdb)).warnings == ()
    thermal = regdb / "idx/test_thermal_2.txt"
    thermal.write_text("".join(thermal.read_text().splitlines(keepends=True)[:3]))
    differ = "trials 2: not the published 4 images in every list"
    assert differ in check(read_regdb(regdb)).warnings


def test_images_that_no_list_names_are_a_warning(regdb: Path) -> None:
    extra = "Visible/285/extra_285.bmp"
    Image.new("RGB", (99, 99)).save(regdb / extra)
    (regdb / "Visible/285/Thumbs.db").write_bytes(b"harmless")
    report = check(read_regdb(regdb))
    assert report.ok and report.sizes is not None and report.sizes.max_width == 6
    assert report.warnings[-1] == f"no list names 1 of the images in the folders, the first {extra}"


def test_nothing_decodable_leaves_no_sizes(regdb: Path) -> None:
    for path in regdb.glob("*/*/*.bmp"):
        path.write_bytes(b"")
    report = check(read_regdb(regdb))
    assert report.sizes is None and len(report.faults) == 20


@pytest.mark.parametrize(
    ("gone", "message"),
    [(".", "no such folder"), ("idx", "no trial"), ("Visible", "/Visible: folder is missing")],
)
def test_nothing_to_check_is_an_error(regdb: Path, gone: str, message: str) -> None:
    shutil.rmtree(regdb / gone)
    with pytest.raises(UserError, match=message):
        check(read_regdb(regdb))
