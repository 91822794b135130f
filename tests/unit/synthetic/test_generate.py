"""RegDB layout: files, lists and determinism."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.synthetic_regdb import generate_regdb

IDENTITIES, IMAGES, TRIALS = 7, 3, 2
SMALL = (32, 64)
# Mean levels of the eight 32x32 blocks of two images.
VISIBLE_GOLD = [[99.79, 98.35], [164.75, 169.06], [113.56, 129.6], [135.16, 120.25]]
THERMAL_GOLD = [[115.92, 67.52], [142.59, 100.29], [144.51, 106.22], [109.69, 97.8]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "RegDB"
    generate_regdb(out, identities=IDENTITIES, images=IMAGES, trials=TRIALS, seed=3, workers=1)
    return out


def read_list(root: Path, split: str, modality: str, trial: int) -> list[tuple[str, int]]:
    text = (root / "idx" / f"{split}_{modality}_{trial}.txt").read_text()
    assert text.endswith("\n")
    lines = [line.split(" ") for line in text.splitlines()]
    return [(path, int(label)) for path, label in lines]


def label_of(listed: list[tuple[str, int]]) -> dict[int, int]:
    return {int(path.split("/")[1]): label for path, label in listed}


def contents(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def trials() -> Iterator[tuple[int, str]]:
    for trial in range(1, TRIALS + 1):
        for split in ("train", "test"):
            yield trial, split


# --- layout --------------------------------------------------------------------------------


def test_folders_and_names(dataset: Path) -> None:
    assert sorted(p.name for p in dataset.iterdir()) == ["Thermal", "Visible", "idx"]
    for modality, letter in (("Visible", "v"), ("Thermal", "t")):
        folders = sorted(int(p.name) for p in (dataset / modality).iterdir())
        assert folders == list(range(1, IDENTITIES + 1))
        for identity in folders:
            names = [p.name for p in (dataset / modality / str(identity)).iterdir()]
            assert len(names) == IMAGES
            for name in names:
                gender, side, kind, frame, last = name.removesuffix(".bmp").split("_")
                assert name.endswith(".bmp")
                assert gender in ("male", "female")
                assert side in ("front", "back")
                assert kind == letter
                assert len(frame) == 5
                assert frame.isdigit()
                assert last == str(identity)


def test_one_gender_per_identity(dataset: Path) -> None:
    for identity in range(1, IDENTITIES + 1):
        names = [p.name for p in dataset.glob(f"*/{identity}/*.bmp")]
        assert len({name.split("_")[0] for name in names}) == 1


def test_images_are_rgb_and_thermal_ones_grayscale(dataset: Path) -> None:
    for path in dataset.rglob("*.bmp"):
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("BMP", "RGB", (64, 128))
            pixels = np.asarray(image).astype(int)
        grayscale = bool((pixels[..., 0] == pixels[..., 1]).all() and (np.ptp(pixels, axis=2) == 0).all())
        assert grayscale == (path.parts[-3] == "Thermal")


def test_lists_name_every_image_once(dataset: Path) -> None:
    expected = {f"{s}_{m}_{t}.txt" for t, s in trials() for m in ("visible", "thermal")}
    assert {p.name for p in (dataset / "idx").iterdir()} == expected
    for trial in range(1, TRIALS + 1):
        listed = [
            path
            for split in ("train", "test")
            for modality in ("visible", "thermal")
            for path, _ in read_list(dataset, split, modality, trial)
        ]
        images = {str(p.relative_to(dataset)) for p in dataset.rglob("*.bmp")}
        assert len(listed) == len(set(listed))
        assert set(listed) == images


def test_labels_agree_between_modalities(dataset: Path) -> None:
    for trial, split in trials():
        visible = read_list(dataset, split, "visible", trial)
        thermal = read_list(dataset, split, "thermal", trial)
        assert label_of(visible) == label_of(thermal)
        assert [label for _, label in visible] == [label for _, label in thermal]
        assert all(path.startswith("Visible/") for path, _ in visible)
        assert all(path.startswith("Thermal/") for path, _ in thermal)
        identities = sorted(label_of(visible))
        assert label_of(visible) == {identity: label for label, identity in enumerate(identities)}


def test_split_halves_are_disjoint_and_differ_between_trials(dataset: Path) -> None:
    training = []
    for trial in range(1, TRIALS + 1):
        train = set(label_of(read_list(dataset, "train", "visible", trial)))
        test = set(label_of(read_list(dataset, "test", "visible", trial)))
        assert len(train) == IDENTITIES // 2
        assert train.isdisjoint(test)
        assert train | test == set(range(1, IDENTITIES + 1))
        training.append(train)
    assert training[0] != training[1]


# --- determinism ---------------------------------------------------------------------------


def test_same_bytes_over_processes(dataset: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    generate_regdb(
        tmp_path / "again", identities=IDENTITIES, images=IMAGES, trials=TRIALS, seed=3,
        workers=2, progress=lambda i, n: done.append((i, n)),
    )  # fmt: skip
    assert contents(tmp_path / "again") == contents(dataset)
    assert done == [(i, IDENTITIES) for i in range(1, IDENTITIES + 1)]


def test_images_do_not_depend_on_the_number_of_identities(dataset: Path, tmp_path: Path) -> None:
    generate_regdb(tmp_path / "few", identities=4, images=2, trials=1, seed=3, workers=1)
    few, many = contents(tmp_path / "few"), contents(dataset)
    images = [name for name in few if name.endswith(".bmp")]
    assert len(images) == 4 * 2 * 2
    assert all(few[name] == many[name] for name in images)


def test_the_seed_changes_images_and_splits(dataset: Path, tmp_path: Path) -> None:
    generate_regdb(
        tmp_path / "other", identities=IDENTITIES, images=IMAGES, trials=TRIALS, seed=4, workers=1
    )
    first, other = contents(dataset), contents(tmp_path / "other")
    assert not {v for k, v in first.items() if k.endswith("bmp")} & set(other.values())
    splits = [
        [sorted(label_of(read_list(root, "train", "visible", t))) for t in range(1, TRIALS + 1)]
        for root in (dataset, tmp_path / "other")
    ]
    assert splits[0] != splits[1]


def test_size_is_respected(tmp_path: Path) -> None:
    generate_regdb(tmp_path / "s", identities=4, images=2, trials=1, size=SMALL, workers=1)
    for path in (tmp_path / "s").rglob("*.bmp"):
        with Image.open(path) as image:
            assert image.size == SMALL


def test_images_match_earlier_versions(tmp_path: Path) -> None:
    """The demo's results depend on them. Means of blocks, as single bits may depend on the processor."""
    generate_regdb(tmp_path / "d", identities=4, images=2, seed=7, trials=1, workers=1)
    listed = (tmp_path / "d" / "idx" / "train_visible_1.txt").read_text()
    names = ["1/male_back_v_06124_1.bmp 0", "1/male_back_v_06126_1.bmp 0"]
    names += ["4/male_front_v_00773_4.bmp 1", "4/male_front_v_00781_4.bmp 1"]
    assert listed == "".join(f"Visible/{name}\n" for name in names)
    expected = {
        "Visible/4/male_front_v_00781_4.bmp": VISIBLE_GOLD,
        "Thermal/4/male_front_t_01561_4.bmp": THERMAL_GOLD,
    }
    for path, means in expected.items():
        with Image.open(tmp_path / "d" / path) as image:
            blocks = np.asarray(image).astype(float).reshape(4, 32, 2, 32, 3).mean(axis=(1, 3, 4))
        np.testing.assert_allclose(blocks, means, atol=0.1)


# --- difficulty ---------------------------------------------------------------------------


def test_difficulty_changes_images_but_not_splits(tmp_path: Path, dataset: Path) -> None:
    generate_regdb(
        tmp_path / "hard", identities=IDENTITIES, images=IMAGES, trials=TRIALS, seed=3, workers=1,
        difficulty="hard",
    )  # fmt: skip
    folders = sorted(p.name for p in (tmp_path / "hard" / "Visible").iterdir())
    assert folders == sorted(p.name for p in (dataset / "Visible").iterdir())
    hard, normal = contents(tmp_path / "hard"), contents(dataset)
    images = {name for name in normal if not name.startswith("idx/")}
    assert not any(hard.get(name) == normal[name] for name in images)
    lists = [
        sorted({line.split("/")[1] for line in hard[n].decode().splitlines()})
        for n in hard
        if n.startswith("idx/")
    ]
    assert lists == [
        sorted({line.split("/")[1] for line in normal[n].decode().splitlines()})
        for n in normal
        if n.startswith("idx/")
    ]
