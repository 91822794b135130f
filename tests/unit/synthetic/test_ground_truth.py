"""Ground truth: every image as the other sensor would have recorded it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.synthetic_regdb import generate_regdb
from tsme.data.datasets.ground_truth import load_ground_truth
from tsme.data.datasets.regdb import read_regdb
from tsme.errors import UserError
from tsme.synthetic.generate import generate
from tsme.synthetic.people.person import ToneModel

IMAGES = 3


def generate_small(out: Path, tones: ToneModel, ground_truth: bool) -> Path:
    generate_regdb(
        out, identities=7, images=IMAGES, trials=2, seed=3, workers=1, tones=tones,
        ground_truth=ground_truth,
    )  # fmt: skip
    return out


@pytest.fixture(scope="module", params=["independent", "lifelike"])
def tones(request: pytest.FixtureRequest) -> ToneModel:
    model: ToneModel = request.param
    return model


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, tones: ToneModel) -> Path:
    return generate_small(tmp_path_factory.mktemp("plain") / "RegDB", tones, ground_truth=False)


@pytest.fixture(scope="module")
def with_ground_truth(tmp_path_factory: pytest.TempPathFactory, tones: ToneModel) -> Path:
    return generate_small(tmp_path_factory.mktemp("truth") / "RegDB", tones, ground_truth=True)


def contents(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_ground_truth_changes_no_other_file(dataset: Path, with_ground_truth: Path) -> None:
    plain, extended = contents(dataset), contents(with_ground_truth)
    assert {k: v for k, v in extended.items() if not k.startswith("Truth/")} == plain
    assert {k.removeprefix("Truth/") for k in extended.keys() - plain.keys()} == {
        k for k in plain if not k.startswith("idx/")
    }


def figure(path: Path) -> np.ndarray:
    """Mask of the figure in a thermal image, by threshold: thermal backgrounds are smooth."""
    grayscale = np.asarray(Image.open(path).convert("L")).astype(float)
    edge = np.concatenate([grayscale[:, :4].ravel(), grayscale[:, -4:].ravel()])
    return grayscale > np.median(edge) + 25


def test_ground_truth_shows_the_same_pose(with_ground_truth: Path) -> None:
    """A visible image has strong edges on the outline of its own thermal counterpart."""
    files = sorted((with_ground_truth / "Visible").rglob("*.bmp"))
    own, others = [], []
    for file, other in zip(files, files[IMAGES:] + files[:IMAGES], strict=True):
        ground_truth = figure(with_ground_truth / "Truth" / file.relative_to(with_ground_truth))
        image, other_image = (np.asarray(Image.open(f).convert("L")).astype(float) for f in (file, other))
        outline = np.abs(np.diff(ground_truth.astype(float), axis=1)) > 0
        edges, other_edges = (np.abs(np.diff(p, axis=1)) for p in (image, other_image))
        own.append(edges[outline].mean() / edges.mean())
        others.append(other_edges[outline].mean() / other_edges.mean())
    assert np.mean(own) > 1.2 * np.mean(others)


def test_only_counterparts_of_thermal_images_are_coloured(
    with_ground_truth: Path,
) -> None:
    for modality, coloured in (("Visible", False), ("Thermal", True)):
        for file in (with_ground_truth / "Truth" / modality).rglob("*.bmp"):
            pixels = np.asarray(Image.open(file)).astype(int)
            assert (np.ptp(pixels, axis=2) > 12).any() == coloured


def test_ground_truth_is_loaded_for_the_listed_images(with_ground_truth: Path, dataset: Path) -> None:
    split = read_regdb(with_ground_truth).trial(1).test
    ground_truths = load_ground_truth(with_ground_truth, split.visible, 64, 32)
    assert ground_truths is not None and ground_truths.shape == (len(split.visible), 3, 64, 32)
    first = Image.open(with_ground_truth / "Truth" / split.visible.paths[0]).resize(
        (32, 64), Image.Resampling.LANCZOS
    )
    assert np.array_equal(ground_truths[0].numpy().transpose(1, 2, 0), np.asarray(first))
    assert load_ground_truth(dataset, read_regdb(dataset).trial(1).test.visible, 64, 32) is None
    (with_ground_truth / "Truth" / split.infrared.paths[1]).unlink()
    with pytest.raises(UserError, match=Path(split.infrared.paths[1]).name):
        load_ground_truth(with_ground_truth, split.infrared, 64, 32)


def test_only_the_regdb_layout_has_ground_truth(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ground truth"):
        generate(tmp_path / "out", layout="sysu", identities=6, images=2, seed=0, ground_truth=True)
