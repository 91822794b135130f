"""Synthetic identities in all layouts: which files there are, what the lists say, and what a seed determines."""

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
from tsme.synthetic.people.person import draw_person
from tsme.synthetic.writer import Layout

IDENTITIES, IMAGES, SIZE = 12, 2, (16, 32)
PLANNED = 60  # people of whom no picture is drawn
FIXED: tuple[DatasetName, ...] = ("sysu", "llcm", "csv")
LAYOUTS: tuple[DatasetName, ...] = ("regdb", *FIXED)


def draw(out: Path, layout: DatasetName, identities: int = IDENTITIES, seed: int = 3) -> Path:
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
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[DatasetName, Path]:
    folder = tmp_path_factory.mktemp("synthetic")
    return {layout: draw(folder / layout, layout) for layout in LAYOUTS}


def planned(layout: Layout) -> dict[int, list[tuple[str, object]]]:
    """Path and view of every picture of PLANNED people, without any being drawn."""
    person = draw_person(np.random.default_rng(0))
    people = {k: layout.shots(k, person, np.random.SeedSequence([0, k])) for k in range(1, PLANNED + 1)}
    return {k: [(shot.path, shot.view) for shot in shots] for k, shots in people.items()}


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def pictures(root: Path) -> dict[str, bytes]:
    return {k: v for k, v in contents(root).items() if k.endswith((".jpg", ".bmp"))}


def numbers(file: Path) -> list[int]:
    text = file.read_text()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return [int(word) for word in text.split(",")]


def cameras_of_people(layout: DatasetName, root: Path) -> dict[int, set[tuple[bool, int]]]:
    """(is infrared, camera) of all a person's pictures, told from their paths alone."""
    seen: dict[int, set[tuple[bool, int]]] = defaultdict(set)
    for path in pictures(root):
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


# --- what all layouts have in common -------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_reader_of_a_layout_finds_no_fault(
    drawn: dict[DatasetName, Path], layout: DatasetName
) -> None:
    root = drawn[layout] / "people.csv" if layout == "csv" else drawn[layout]
    findings = open_dataset(layout, root).examine()
    assert findings.faults == ()
    trial = findings.trials[0]
    read = {
        path
        for split in (trial.train, trial.test)
        for images in (split.visible, split.infrared)
        for path in images.paths
    }
    assert read == set(pictures(drawn[layout]))
    assert len(trial.train.identities) + len(trial.test.identities) == IDENTITIES
    assert set(trial.train.identities).isdisjoint(trial.test.identities)


@pytest.mark.parametrize("layout", FIXED)
def test_everyone_can_be_found_but_is_not_everywhere(
    drawn: dict[DatasetName, Path], layout: DatasetName
) -> None:
    seen = cameras_of_people(layout, drawn[layout])
    assert sorted(seen) == list(range(1, IDENTITIES + 1))
    every = set().union(*seen.values())
    assert len(every) == {"sysu": 6, "llcm": 17, "csv": 4}[layout]
    assert any(cameras != every for cameras in seen.values())
    # A SYSU camera-3 query may not be answered by camera 2; LLCM's cameras share their numbers.
    place = {3: 2} if layout == "sysu" else {}
    for cameras in seen.values():
        visible = {camera for infrared, camera in cameras if not infrared}
        hidden = {place.get(camera, camera) for infrared, camera in cameras if infrared}
        assert any(here != there for here in visible for there in hidden)


@pytest.mark.parametrize("kind", [SysuLayout, LlcmLayout, CsvTableLayout])
def test_numbers_of_pictures_vary_about_the_mean(kind: type[SysuLayout | LlcmLayout | CsvTableLayout]) -> None:
    counts: dict[tuple[int, object], int] = defaultdict(int)
    for identity, shots in planned(kind(PLANNED, 6, 1)).items():
        for _, view in shots:
            counts[identity, view] += 1
    assert min(counts.values()) >= 1
    assert len(set(counts.values())) > 6
    assert 5.5 < np.mean(list(counts.values())) < 6.5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pictures_are_rgb_and_infrared_ones_grey(
    drawn: dict[DatasetName, Path], layout: DatasetName
) -> None:
    infrared = {"regdb": "Thermal/", "csv": "/infrared/"}
    for path in pictures(drawn[layout]):
        with Image.open(drawn[layout] / path) as image:
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
    drawn: dict[DatasetName, Path], tmp_path: Path
) -> None:
    generate(
        tmp_path / "d", layout="sysu", identities=IDENTITIES, images=IMAGES, seed=3, size=SIZE, workers=2
    )
    assert contents(tmp_path / "d") == contents(drawn["sysu"])


@pytest.mark.parametrize("layout", FIXED)
def test_another_seed_gives_others(
    drawn: dict[DatasetName, Path], tmp_path: Path, layout: DatasetName
) -> None:
    other = pictures(draw(tmp_path / "d", layout, identities=6, seed=4))
    assert not set(other.values()) & set(pictures(drawn[layout]).values())


@pytest.mark.parametrize("layout", FIXED)
def test_pictures_do_not_depend_on_how_many_people_there_are(
    drawn: dict[DatasetName, Path], tmp_path: Path, layout: DatasetName
) -> None:
    few = pictures(draw(tmp_path / "d", layout, identities=6))
    # In LLCM the division, and so the folder, does; the name tells person, camera and frame.
    many = {path.split("/")[-1]: content for path, content in pictures(drawn[layout]).items()}
    if layout == "llcm":
        assert all(many[path.split("/")[-1]] == content for path, content in few.items())
    else:
        assert few.items() <= pictures(drawn[layout]).items()


# --- SYSU-MM01 -----------------------------------------------------------------------------


def test_sysu_files(drawn: dict[DatasetName, Path]) -> None:
    root = drawn["sysu"]
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


def test_sysu_divides_all_people(drawn: dict[DatasetName, Path]) -> None:
    splits = [numbers(drawn["sysu"] / "exp" / f"{name}_id.txt") for name in ("train", "val", "test")]
    assert [len(split) for split in splits] == [8, 2, 2]
    assert sorted(identity for split in splits for identity in split) == list(range(1, IDENTITIES + 1))
    assert all(split == sorted(split) for split in splits)
    assert splits[0] != list(range(1, 9))  # drawn, not the first


def test_some_of_sysu_stay_indoors_and_some_outdoors() -> None:
    where = [
        {"in" if path[3] in "123" else "out" for path, _ in shots}
        for shots in planned(SysuLayout(PLANNED, 2, 0)).values()
    ]
    assert 0.5 < where.count({"in", "out"}) / PLANNED < 0.9
    assert where.count({"in"}) > 2
    assert where.count({"out"}) > 2


# --- LLCM ----------------------------------------------------------------------------------


def test_llcm_folders(drawn: dict[DatasetName, Path]) -> None:
    root = drawn["llcm"]
    assert sorted(p.name for p in root.iterdir()) == ["idx", "nir", "test_nir", "test_vis", "vis"]
    cameras = [f"cam{k}" for k in range(1, 10)]
    assert sorted(p.name for p in (root / "test_vis").iterdir()) == cameras
    assert sorted(p.name for p in (root / "test_nir").iterdir()) == [c for c in cameras if c != "cam3"]
    for path in root.glob("test_*/cam*/*/*.jpg"):
        kind, camera, identity = path.parts[-4:-1]
        number, camera_word, *_ = path.name.split("_")
        assert (identity, camera) == (number, f"cam{int(camera_word[1:])}")
        assert path.name.endswith(f"_{kind.removeprefix('test_')}.jpg")


def test_llcm_lists(drawn: dict[DatasetName, Path]) -> None:
    root = drawn["llcm"]
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


# --- a user's own CSV file -----------------------------------------------------------------


def test_csv_rows_name_every_picture(drawn: dict[DatasetName, Path]) -> None:
    with (drawn["csv"] / "people.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "identity", "camera", "modality", "split"]
    assert sorted(row["path"] for row in rows) == sorted(pictures(drawn["csv"]))
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
    assert {split: len(people) for split, people in splits.items()} == {"train": 6, "test": 6}
