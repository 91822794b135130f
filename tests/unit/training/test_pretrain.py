"""Pretraining of backbones on synthetic identities."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.support.synthetic_regdb import generate_regdb
from tsme.config import BackboneConfig, Config, ImageConfig
from tsme.models.backbone import build_backbone
from tsme.settings import override
from tsme.training.distributed import Worker
from tsme.training.pretrain import Recipe, SyntheticWeights, pretrain, read_all_images
from tsme.training.stages import run_stages
from tsme.training.trial import TrialTraining

BACKBONE = BackboneConfig(architecture="resnet10", width=8, weights="synthetic")
IMAGE = ImageConfig(height=64, width=32, padding=2)
WEIGHTS = SyntheticWeights(BACKBONE, IMAGE, Recipe(identities=6, images=4, epochs=12, batch=16, lr=0.01))


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tensor, Tensor]:
    folder = tmp_path_factory.mktemp("synthetic") / "data"
    generate_regdb(folder, identities=6, images=4, seed=1, trials=1, workers=1)
    return read_all_images(folder, IMAGE)


def train(data: tuple[Tensor, Tensor], file: Path) -> tuple[list[float], dict[str, Tensor]]:
    losses = [result.losses["total"] for result in pretrain(WEIGHTS, *data, file, Worker())]
    return losses, load_file(file)


def test_images_of_both_modalities_are_read(synthetic):
    images, labels = synthetic
    assert images.shape == (6 * 4 * 2, 3, 64, 32) and images.dtype == torch.uint8
    assert torch.bincount(labels).tolist() == [8] * 6
    grayscale = (images[:, 0] == images[:, 1]).flatten(1).all(1)  # thermal images have no colour
    assert torch.bincount(labels[grayscale]).tolist() == [4] * 6


def test_synthetic_visible_weights_see_no_infrared_images(tmp_path):
    generate_regdb(tmp_path / "data", identities=4, images=3, seed=1, trials=1, workers=1)
    visible = SyntheticWeights.of(BACKBONE.model_copy(update={"weights": "synthetic-visible"}), IMAGE)
    both = SyntheticWeights.of(BACKBONE, IMAGE)
    assert visible is not None and both is not None and visible.key != both.key
    images, labels = read_all_images(tmp_path / "data", IMAGE, visible.recipe.modalities)
    assert torch.bincount(labels).tolist() == [3] * 4
    assert (images[:, 0] != images[:, 1]).flatten(1).any(1).all()


def test_a_backbone_learns_and_its_weights_can_be_loaded(synthetic, tmp_path):
    losses, state = train(synthetic, tmp_path / "a.safetensors")
    assert len(losses) == 12 and losses[-1] < 0.8 * losses[0]
    backbone = build_backbone(BACKBONE.model_copy(update={"weights": str(tmp_path / "a.safetensors")}))
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())
    again, same = train(synthetic, tmp_path / "b.safetensors")
    assert again == losses and all(torch.equal(value, same[name]) for name, value in state.items())


@pytest.mark.parametrize(
    "other",
    [
        replace(WEIGHTS, backbone=BACKBONE.model_copy(update={"width": 16})),
        replace(WEIGHTS, image=ImageConfig(height=96, width=32, padding=2)),
        replace(WEIGHTS, recipe=Recipe(epochs=3)),
    ],
)
def test_the_file_name_depends_on_backbone_image_size_and_recipe(other, tmp_path):
    assert replace(WEIGHTS).file(tmp_path) == WEIGHTS.file(tmp_path) != other.file(tmp_path)


def test_training_starts_from_the_pretrained_backbone(tiny: Config, make_split, make_pixels, tmp_path):
    config = override(tiny, {f"{stage}.backbone.weights": "synthetic" for stage in ("dsgan", "reid")})
    backbone = SyntheticWeights.of(config.reid.backbone, config.image)
    assert backbone is not None and SyntheticWeights.of(tiny.reid.backbone, tiny.image) is None
    file = backbone.file(tmp_path)
    torch.manual_seed(5)
    first = build_backbone(tiny.reid.backbone)
    save_file(first.state_dict(), file)
    training = TrialTraining(config, 1, make_split(range(0, 5)), None, make_pixels(), tmp_path)
    with training.with_local_weights("reid") as local:
        assert local.reid.backbone.weights == str(file)
        built = build_backbone(local.reid.backbone).state_dict()
    assert all(torch.equal(value, built[name]) for name, value in first.state_dict().items())
    random = replace(training, config=tiny)
    assert random.model_key != training.model_key and random.generators_key != training.generators_key
    assert [result.stage for result in run_stages(training, Worker())][-1] == "reid"
    assert training.model_file.is_file()
