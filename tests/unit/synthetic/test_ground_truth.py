"""What the other sensor would have seen of a drawn person at the same moment."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tsme.data.datasets.ground_truth import load_ground_truth
from tsme.data.datasets.regdb import RegDB
from tsme.errors import UserError
from tsme.synthetic.generate import generate, generate_regdb

IMAGES = 3


def drawn(out: Path, ground_truth: bool) -> Path:
    generate_regdb(
        out, identities=7, images=IMAGES, trials=2, seed=3, workers=1, ground_truth=ground_truth
    )
    return out


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("plain") / "RegDB", ground_truth=False)


@pytest.fixture(scope="module")
def with_truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("truth") / "RegDB", ground_truth=True)


def contents(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_truth_changes_no_other_byte(dataset: Path, with_truth: Path) -> None:
    plain, more = contents(dataset), contents(with_truth)
    assert {k: v for k, v in more.items() if not k.startswith("Truth/")} == plain
    assert {k.removeprefix("Truth/") for k in more.keys() - plain.keys()} == {
        k for k in plain if not k.startswith("idx/")
    }


def figure(path: Path) -> np.ndarray:
    """Where somebody warm stands in a thermal picture: smooth, so a threshold finds them."""
    grayscale = np.asarray(Image.open(path).convert("L")).astype(float)
    edge = np.concatenate([grayscale[:, :4].ravel(), grayscale[:, -4:].ravel()])
    return grayscale > np.median(edge) + 25


def test_the_truth_is_of_the_same_moment(with_truth: Path) -> None:
    """The thermal truth of a visible picture shows a figure whose outline the visible one has too."""
    files = sorted((with_truth / "Visible").rglob("*.bmp"))
    matched, crossed = [], []
    for file, other in zip(files, files[IMAGES:] + files[:IMAGES], strict=True):
        ground_truth = figure(with_truth / "Truth" / file.relative_to(with_truth))
        shown, stranger = (np.asarray(Image.open(f).convert("L")).astype(float) for f in (file, other))
        outline = np.abs(np.diff(ground_truth.astype(float), axis=1)) > 0
        step, strange = (np.abs(np.diff(p, axis=1)) for p in (shown, stranger))
        matched.append(step[outline].mean() / step.mean())
        crossed.append(strange[outline].mean() / strange.mean())
    assert np.mean(matched) > 1.2 * np.mean(crossed)


def test_truth_is_grey_of_thermal_pictures_and_coloured_of_visible_ones(with_truth: Path) -> None:
    for modality, coloured in (("Visible", False), ("Thermal", True)):
        for file in (with_truth / "Truth" / modality).rglob("*.bmp"):
            pixels = np.asarray(Image.open(file)).astype(int)
            assert (np.ptp(pixels, axis=2) > 12).any() == coloured


def test_truth_is_read_by_the_images_it_belongs_to(with_truth: Path, dataset: Path) -> None:
    split = RegDB(with_truth).read(1).test
    ground_truths = load_ground_truth(with_truth, split.visible, 64, 32)
    assert ground_truths is not None and ground_truths.shape == (len(split.visible), 3, 64, 32)
    first = Image.open(with_truth / "Truth" / split.visible.paths[0]).resize(
        (32, 64), Image.Resampling.BILINEAR
    )
    assert np.array_equal(ground_truths[0].numpy().transpose(1, 2, 0), np.asarray(first))
    assert load_ground_truth(dataset, RegDB(dataset).read(1).test.visible, 64, 32) is None
    (with_truth / "Truth" / split.infrared.paths[1]).unlink()
    with pytest.raises(UserError, match=Path(split.infrared.paths[1]).name):
        load_ground_truth(with_truth, split.infrared, 64, 32)


def test_only_regdb_has_a_truth(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="truth"):
        generate(tmp_path / "out", layout="sysu", identities=6, images=2, seed=0, ground_truth=True)
