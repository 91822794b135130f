"""The synthetic data set: layout, determinism, errors, and what identifies a person where."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tsme.data.synth import generate_regdb
from tsme.data.synth.person import MODALITIES, Modality, Person, draw_person
from tsme.data.synth.render import render
from tsme.errors import UserError

IDENTITIES, IMAGES, TRIALS = 7, 3, 2
SMALL = (32, 64)


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


def test_images_are_rgb_and_thermal_is_grey(dataset: Path) -> None:
    for path in dataset.rglob("*.bmp"):
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("BMP", "RGB", (64, 128))
            pixels = np.asarray(image).astype(int)
        grey = bool((pixels[..., 0] == pixels[..., 1]).all() and (np.ptp(pixels, axis=2) == 0).all())
        assert grey == (path.parts[-3] == "Thermal")


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
        assert label_of(visible) == {who: label for label, who in enumerate(identities)}


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


def test_a_person_does_not_depend_on_how_many_there_are(dataset: Path, tmp_path: Path) -> None:
    generate_regdb(tmp_path / "few", identities=4, images=2, trials=1, seed=3, workers=1)
    few, many = contents(tmp_path / "few"), contents(dataset)
    pictures = [name for name in few if name.endswith(".bmp")]
    assert len(pictures) == 4 * 2 * 2
    assert all(few[name] == many[name] for name in pictures)


def test_seed_changes_pictures_and_splits(dataset: Path, tmp_path: Path) -> None:
    generate_regdb(
        tmp_path / "other", identities=IDENTITIES, images=IMAGES, trials=TRIALS, seed=4, workers=1
    )
    mine, other = contents(dataset), contents(tmp_path / "other")
    assert not {v for k, v in mine.items() if k.endswith("bmp")} & set(other.values())
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


# --- errors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value"),
    [("identities", 3), ("images", 1), ("trials", 0), ("trials", 11), ("seed", -1), ("workers", 0)],
)
def test_numbers_out_of_range(tmp_path: Path, option: str, value: int) -> None:
    with pytest.raises(UserError, match=f"^{option} is {value}: ") as raised:
        generate_regdb(tmp_path / "out", **{option: value})  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_occupied_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not empty"):
        generate_regdb(tmp_path / "out", identities=4, images=2)
    with pytest.raises(UserError, match="is a file"):
        generate_regdb(tmp_path / "out" / "mine.txt", identities=4, images=2)
    assert contents(tmp_path) == {"out/mine.txt".replace("/", os.sep): b"keep"}


def test_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    generate_regdb(tmp_path / "out", identities=4, images=2, trials=1, size=SMALL, workers=1)
    assert (tmp_path / "out" / "idx" / "train_visible_1.txt").is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_nothing_is_left_after_a_failure(tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        generate_regdb(tmp_path / "out", identities=4, images=2, workers=1, progress=fail)
    assert list(tmp_path.iterdir()) == []


# --- what identifies a person --------------------------------------------------------------


PEOPLE, FRAMES = 30, 4  # chance is 1 in 30
LUMINANCE = np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def pictures() -> dict[Modality, NDArray[np.uint8]]:
    """(identity, frame, height, width, channel) for either modality."""
    return {m: draw_pictures(draw_person, m) for m in MODALITIES}


def draw_pictures(draw: Callable[[np.random.Generator], Person], modality: Modality) -> NDArray[np.uint8]:
    shown = []
    for k in range(PEOPLE):
        person = draw(np.random.default_rng([11, k]))
        rng = np.random.default_rng([12, MODALITIES.index(modality), k])
        shown.append([np.asarray(render(person, modality, rng)) for _ in range(FRAMES)])
    return np.array(shown)


def histograms(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of each channel, over four strips of the picture's middle: (identity, frame, feature)."""

    def of_one(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        strips = np.array_split(pixels[:, 18:46], 4)
        bins = [np.histogram(s[..., c], 8, (0, 256))[0] for s in strips for c in range(3)]
        counts: NDArray[np.float64] = np.concatenate(bins).astype(float)
        return np.sqrt(counts)

    return np.array([[of_one(pixels) for pixels in frames] for frames in pictures])


def tones_of_garments(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean brightness of eight strips of the figure, free of each picture's gain and offset."""
    grey = (pictures @ LUMINANCE)[:, :, 12:120, 24:40]
    strips = np.stack([s.mean(axis=(2, 3)) for s in np.array_split(grey, 8, axis=2)], axis=-1)
    strips -= strips.mean(axis=-1, keepdims=True)
    strips /= strips.std(axis=-1, keepdims=True)
    scaled: NDArray[np.float64] = (strips - strips.mean(axis=(0, 1))) / strips.std(axis=(0, 1))
    return scaled


def cross_modal_rate(visible: NDArray[np.uint8], thermal: NDArray[np.uint8]) -> float:
    """Nearest-centroid rate on tones, the mean of both directions."""
    v, t = tones_of_garments(visible), tones_of_garments(thermal)
    return (nearest_centroid_rate(v, t) + nearest_centroid_rate(t, v)) / 2


def luminance(tone: tuple[float, ...]) -> float:
    return float(np.array(tone) @ LUMINANCE)


def nearest_centroid_rate(queries: NDArray[np.float64], gallery: NDArray[np.float64]) -> float:
    """Share of queries (n, q, d) nearest to the mean of their own identity's gallery (n, g, d)."""
    centroids = gallery.mean(axis=1)
    distance = np.linalg.norm(queries[:, :, None] - centroids, axis=-1)
    return float((distance.argmin(axis=-1) == np.arange(len(queries))[:, None]).mean())


@pytest.mark.parametrize(("modality", "least"), [("visible", 0.4), ("thermal", 0.12)])
def test_tones_identify_within_a_modality(
    pictures: dict[Modality, NDArray[np.uint8]], modality: Modality, least: float
) -> None:
    features = histograms(pictures[modality])
    assert nearest_centroid_rate(features[:, :2], features[:, 2:]) > least


def test_tones_say_little_across_modalities(pictures: dict[Modality, NDArray[np.uint8]]) -> None:
    assert cross_modal_rate(pictures["visible"], pictures["thermal"]) < 0.1


def test_the_check_across_modalities_can_fail(pictures: dict[Modality, NDArray[np.uint8]]) -> None:
    """People as warm as their clothes are bright are found by the same comparison."""

    def leaky(rng: np.random.Generator) -> Person:
        person = draw_person(rng)
        warmth = {part: (luminance(tone),) for part, tone in person.looks["visible"].items()}
        return replace(person, looks={"thermal": warmth})

    assert cross_modal_rate(pictures["visible"], draw_pictures(leaky, "thermal")) > 0.25


def test_looks_are_independent_of_each_other() -> None:
    people = [draw_person(np.random.default_rng([13, k])) for k in range(400)]
    agree = [
        (luminance(seen["upper_accent"]) > luminance(seen["upper"]))
        == (felt["upper_accent"] > felt["upper"])
        for seen, felt in ((p.looks["visible"], p.looks["thermal"]) for p in people)
    ]
    assert 0.42 < np.mean(agree) < 0.58
