"""All layouts: files, list files and the effect of the seed."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tsme.config import DatasetName
from tsme.data.datasets.registry import open_dataset
from tsme.synthetic.generate import generate
from tsme.synthetic.layouts.csv_table import CsvTableLayout
from tsme.synthetic.layouts.llcm import LlcmLayout
from tsme.synthetic.layouts.sysu import SysuLayout
from tsme.synthetic.people.sampling import sample_person
from tsme.synthetic.writer import DatasetLayout

IDENTITIES, IMAGES, SIZE = 12, 2, (16, 32)
PLANNED = 60  # identities whose images are planned but not rendered
FIXED: tuple[DatasetName, ...] = ("sysu", "llcm", "csv")
LAYOUTS: tuple[DatasetName, ...] = ("regdb", *FIXED)


def generate_small(out: Path, layout: DatasetName, identities: int = IDENTITIES, seed: int = 3) -> Path:
    generate(
        out,
        layout=layout,
        identities=identities,
        images=IMAGES,
        seed=seed,
        size=SIZE,
        workers=1,
        trials=1,
    )
    return out


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[DatasetName, Path]:
    folder = tmp_path_factory.mktemp("synthetic")
    return {layout: generate_small(folder / layout, layout) for layout in LAYOUTS}


def planned(layout: DatasetLayout) -> dict[int, list[tuple[str, object]]]:
    """Path and view of every image of PLANNED identities, without rendering."""
    person = sample_person(np.random.default_rng(0))
    identities = range(1, PLANNED + 1)
    plans = {k: layout.plan_images(k, person, np.random.SeedSequence([0, k])) for k in identities}
    return {k: [(image.path, image.view) for image in images] for k, images in plans.items()}


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def image_files(root: Path) -> dict[str, bytes]:
    return {k: v for k, v in contents(root).items() if k.endswith((".jpg", ".bmp"))}


def numbers(file: Path) -> list[int]:
    text = file.read_text()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return [int(word) for word in text.split(",")]


def cameras_of_identities(layout: DatasetName, root: Path) -> dict[int, set[tuple[bool, int]]]:
    """(is infrared, camera) of each identity's images, from their paths."""
    seen: dict[int, set[tuple[bool, int]]] = defaultdict(set)
    for path in image_files(root):
        match layout:
            case "sysu":
                folder, identity, _ = path.split("/")
                camera = int(folder.removeprefix("cam"))
                seen[int(identity)].add((camera in (3, 6), camera))
            case "llcm":
                name, camera_word, _, _, suffix = path.split("/")[-1].split("_")
                seen[int(name)].add((suffix == "nir.jpg", int(camera_word[1:])))
            case "csv":
                _, modality, folder, name = path.split("/")
                camera = int(folder.removeprefix("camera-"))
                seen[int(name[7:11])].add((modality == "infrared", camera))
    return seen


# --- all layouts -------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_reader_finds_no_fault(generated: dict[DatasetName, Path], layout: DatasetName) -> None:
    root = generated[layout] / "people.csv" if layout == "csv" else generated[layout]
    findings = open_dataset(layout, root)
    assert findings.faults == ()
    trial = findings.trials[1]
    read = {
        path
        for split in (trial.train, trial.test)
        for images in (split.visible, split.infrared)
        for path in images.paths
    }
    assert read == set(image_files(generated[layout]))
    assert len(trial.train.identities) + len(trial.test.identities) == IDENTITIES
    assert set(trial.train.identities).isdisjoint(trial.test.identities)


@pytest.mark.parametrize("layout", FIXED)
def test_identities_are_retrievable_but_miss_some_cameras(
    generated: dict[DatasetName, Path], layout: DatasetName
) -> None:
    seen = cameras_of_identities(layout, generated[layout])
    assert sorted(seen) == list(range(1, IDENTITIES + 1))
    all_cameras = set().union(*seen.values())
    assert len(all_cameras) == {"sysu": 6, "llcm": 17, "csv": 4}[layout]
    assert any(cameras != all_cameras for cameras in seen.values())
    # Matches within a place do not count: SYSU's cameras 2 and 3; LLCM's cameras of one number.
    place = {3: 2} if layout == "sysu" else {}
    for cameras in seen.values():
        visible = {camera for infrared, camera in cameras if not infrared}
        infrared_places = {place.get(camera, camera) for infrared, camera in cameras if infrared}
        assert any(one != other for one in visible for other in infrared_places)


@pytest.mark.parametrize("layout", [SysuLayout, LlcmLayout, CsvTableLayout])
def test_numbers_of_images_vary_around_the_mean(
    layout: type[SysuLayout | LlcmLayout | CsvTableLayout],
) -> None:
    counts: dict[tuple[int, object], int] = defaultdict(int)
    for identity, images in planned(layout(PLANNED, 6, 1)).items():
        for _, view in images:
            counts[identity, view] += 1
    assert min(counts.values()) >= 1
    assert len(set(counts.values())) > 6
    assert 5.5 < np.mean(list(counts.values())) < 6.5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_are_rgb_and_infrared_ones_grayscale(
    generated: dict[DatasetName, Path], layout: DatasetName
) -> None:
    infrared = {"regdb": "Thermal/", "csv": "/infrared/"}
    for path in image_files(generated[layout]):
        with Image.open(generated[layout] / path) as image:
            assert (image.mode, image.size) == ("RGB", SIZE)
            assert image.format == ("BMP" if layout == "regdb" else "JPEG")
            grayscale = bool((np.ptp(np.asarray(image).astype(int), axis=2) <= 1).all())
        if layout == "sysu":
            expected = path.startswith(("cam3/", "cam6/"))
        else:
            expected = infrared.get(layout, "_nir.jpg") in path
        assert grayscale == expected, path


# --- determinism ---------------------------------------------------------------------------


def test_a_seed_gives_the_same_bytes_over_processes(
    generated: dict[DatasetName, Path], tmp_path: Path
) -> None:
    generate(
        tmp_path / "d", layout="sysu", identities=IDENTITIES, images=IMAGES, seed=3, size=SIZE, workers=2
    )
    assert contents(tmp_path / "d") == contents(generated["sysu"])


@pytest.mark.parametrize("layout", FIXED)
def test_another_seed_gives_other_images(
    generated: dict[DatasetName, Path], tmp_path: Path, layout: DatasetName
) -> None:
    other = image_files(generate_small(tmp_path / "d", layout, identities=6, seed=4))
    assert not set(other.values()) & set(image_files(generated[layout]).values())


@pytest.mark.parametrize("layout", FIXED)
def test_images_do_not_depend_on_the_number_of_identities(
    generated: dict[DatasetName, Path], tmp_path: Path, layout: DatasetName
) -> None:
    few = image_files(generate_small(tmp_path / "d", layout, identities=6))
    # In LLCM the split, and so the folder, depends on it; the file name does not.
    many = {path.split("/")[-1]: content for path, content in image_files(generated[layout]).items()}
    if layout == "llcm":
        assert all(many[path.split("/")[-1]] == content for path, content in few.items())
    else:
        assert few.items() <= image_files(generated[layout]).items()


# --- SYSU-MM01 -----------------------------------------------------------------------------


def test_sysu_files(generated: dict[DatasetName, Path]) -> None:
    root = generated["sysu"]
    assert sorted(p.name for p in root.iterdir()) == [*(f"cam{k}" for k in range(1, 7)), "exp"]
    assert sorted(p.name for p in (root / "exp").iterdir()) == [
        "test_id.txt",
        "train_id.txt",
        "val_id.txt",
    ]
    for folder in root.glob("cam*/*"):
        frames = sorted(p.name for p in folder.iterdir())
        assert frames == [f"{k:04d}.jpg" for k in range(1, len(frames) + 1)]
        assert len(folder.name) == 4


def test_sysu_splits_contain_every_identity_once(generated: dict[DatasetName, Path]) -> None:
    splits = [numbers(generated["sysu"] / "exp" / f"{name}_id.txt") for name in ("train", "val", "test")]
    assert [len(split) for split in splits] == [8, 2, 2]
    assert sorted(identity for split in splits for identity in split) == list(range(1, IDENTITIES + 1))
    assert all(split == sorted(split) for split in splits)
    assert splits[0] != list(range(1, 9))  # random, not the first ones


def test_some_sysu_identities_are_only_indoors_or_only_outdoors() -> None:
    settings = [
        {"in" if path[3] in "123" else "out" for path, _ in images}
        for images in planned(SysuLayout(PLANNED, 2, 0)).values()
    ]
    assert 0.5 < settings.count({"in", "out"}) / PLANNED < 0.9
    assert settings.count({"in"}) > 2
    assert settings.count({"out"}) > 2


# --- LLCM ----------------------------------------------------------------------------------


def test_llcm_folders(generated: dict[DatasetName, Path]) -> None:
    root = generated["llcm"]
    assert sorted(p.name for p in root.iterdir()) == ["idx", "nir", "test_nir", "test_vis", "vis"]
    cameras = [f"cam{k}" for k in range(1, 10)]
    assert sorted(p.name for p in (root / "test_vis").iterdir()) == cameras
    assert sorted(p.name for p in (root / "test_nir").iterdir()) == [c for c in cameras if c != "cam3"]
    for path in root.glob("test_*/cam*/*/*.jpg"):
        kind, camera, identity = path.parts[-4:-1]
        number, camera_word, *_ = path.name.split("_")
        assert (identity, camera) == (number, f"cam{int(camera_word[1:])}")
        assert path.name.endswith(f"_{kind.removeprefix('test_')}.jpg")


def test_llcm_lists(generated: dict[DatasetName, Path]) -> None:
    root = generated["llcm"]
    test = numbers(root / "idx" / "test_id.txt")
    training = sorted(set(range(1, IDENTITIES + 1)) - set(test))
    assert len(training) == round(IDENTITIES * 2 / 3)
    for suffix in ("vis", "nir"):
        lines = (root / "idx" / f"train_{suffix}.txt").read_text().splitlines()
        listed = [(path, int(label)) for path, label in (line.split(" ") for line in lines)]
        assert {path for path, _ in listed} == {
            str(path.relative_to(root)) for path in root.glob(f"{suffix}/*/*.jpg")
        }
        assert len(set(listed)) == len(lines)
        assert {label for _, label in listed} == set(range(len(training)))
        assert all(int(path.split("/")[1]) == training[label] for path, label in listed)
    assert {int(path.parent.name) for path in root.glob("test_*/cam*/*/*.jpg")} == set(test)


# --- CSV table -----------------------------------------------------------------


def test_csv_rows_list_every_image(generated: dict[DatasetName, Path]) -> None:
    with (generated["csv"] / "people.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "identity", "camera", "modality", "split"]
    assert sorted(row["path"] for row in rows) == sorted(image_files(generated["csv"]))
    cameras: dict[str, set[str]] = defaultdict(set)
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        _, modality, folder, name = row["path"].split("/")
        assert (modality, folder) == (row["modality"], f"camera-{row['camera']}")
        assert name.startswith(row["identity"] + "_")
        cameras[modality].add(row["camera"])
        splits[row["split"]].add(row["identity"])
    assert cameras == {"visible": {"1", "2"}, "infrared": {"3", "4"}}
    assert "person-0012" in splits["train"] | splits["test"]
    assert splits["train"].isdisjoint(splits["test"])
    assert {split: len(identities) for split, identities in splits.items()} == {"train": 6, "test": 6}
