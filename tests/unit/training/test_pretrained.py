"""The backbone weights that come with the package."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.synthetic_regdb import generate_regdb
from tsme.config import BackboneConfig
from tsme.data.transforms import to_range
from tsme.models.backbone import Normalise, build_backbone
from tsme.models.reid import rows, stripes
from tsme.presets import demo
from tsme.training.pretrain import STRIPES, SyntheticWeights, read_all_images
from tsme.training.pretrained import FOLDER
from tsme.training.pretrained.__main__ import train_shipped

IDENTITIES = 40


def demo_weights() -> SyntheticWeights:
    config = demo()
    weights = SyntheticWeights.of(config.reid.backbone, config.image)
    assert weights is not None
    return weights


def test_the_demo_starts_from_shipped_weights(tmp_path):
    weights = demo_weights()
    assert weights.file(tmp_path) == FOLDER / weights.name
    assert demo().dsgan.backbone == demo().reid.backbone
    assert [file.name for file in FOLDER.glob("*.safetensors")] == [weights.name]


def nearest_neighbour_accuracy(file: Path, images: Tensor, labels: Tensor) -> float:
    """The share of images whose most similar other image shows the same identity."""
    config: BackboneConfig = demo().reid.backbone.model_copy(update={"weights": str(file)})
    backbone, normalise = build_backbone(config).eval(), Normalise()
    with torch.no_grad():
        maps = torch.cat([backbone(normalise(to_range(chunk)))[-1] for chunk in images.split(64)])
    features = stripes(rows(maps), STRIPES).transpose(0, 1).flatten(1)  # (n, S C)
    features = torch.nn.functional.normalize(features - features.mean(0))
    similarity = (features @ features.T).fill_diagonal_(-1)
    return float((labels[similarity.argmax(1)] == labels).float().mean())


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tensor, Tensor]:
    """Images and labels of identities that no weights have been trained on."""
    folder = tmp_path_factory.mktemp("unseen") / "identities"
    generate_regdb(folder, identities=IDENTITIES, images=4, seed=41, trials=1, workers=1)
    return read_all_images(folder, demo().image)


def test_shipped_weights_tell_unseen_identities_apart(unseen):
    assert nearest_neighbour_accuracy(FOLDER / demo_weights().name, *unseen) > 0.5


@pytest.mark.slow  # two minutes
def test_the_script_makes_weights_like_the_shipped_ones(unseen, tmp_path):
    shipped, made = FOLDER / demo_weights().name, train_shipped(tmp_path)
    assert made.name == shipped.name
    before, after = (nearest_neighbour_accuracy(file, *unseen) for file in (shipped, made))
    assert after == pytest.approx(before, abs=0.06)
