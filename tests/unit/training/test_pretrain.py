"""Backbones that learn from synthetic identities before all else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tsme.config import BackboneConfig, Config, ImageConfig, override
from tsme.models.backbone import build_backbone
from tsme.synthetic.generate import generate_regdb
from tsme.training.distributed import Worker
from tsme.training.pretrain import Recipe, SyntheticWeights, pretrain, read_people
from tsme.training.stages import run_stages
from tsme.training.trial import TrialTraining

BACKBONE = BackboneConfig(architecture="resnet10", width=8, weights="synthetic")
IMAGE = ImageConfig(height=64, width=32, padding=2)
WEIGHTS = SyntheticWeights(BACKBONE, IMAGE, Recipe(identities=6, images=4, epochs=12, batch=16, lr=0.01))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tensor, Tensor]:
    folder = tmp_path_factory.mktemp("synthetic") / "people"
    generate_regdb(folder, identities=6, images=4, seed=1, trials=1, workers=1)
    return read_people(folder, IMAGE)


def trained(people: tuple[Tensor, Tensor], file: Path) -> tuple[list[float], dict[str, Tensor]]:
    losses = [result.losses["total"] for result in pretrain(WEIGHTS, *people, file, Worker())]
    return losses, load_file(file)


def test_people_are_read_from_both_modalities(people):
    pictures, who = people
    assert pictures.shape == (6 * 4 * 2, 3, 64, 32) and pictures.dtype == torch.uint8
    assert torch.bincount(who).tolist() == [8] * 6
    grayscale = (pictures[:, 0] == pictures[:, 1]).flatten(1).all(1)  # thermal images have no colour
    assert torch.bincount(who[grayscale]).tolist() == [4] * 6


def test_a_trunk_of_visible_light_sees_no_infrared(tmp_path):
    generate_regdb(tmp_path / "people", identities=4, images=3, seed=1, trials=1, workers=1)
    visible = SyntheticWeights.of(BACKBONE.model_copy(update={"weights": "synthetic-visible"}), IMAGE)
    both = SyntheticWeights.of(BACKBONE, IMAGE)
    assert visible is not None and both is not None and visible.key != both.key
    pictures, who = read_people(tmp_path / "people", IMAGE, visible.recipe.modalities)
    assert torch.bincount(who).tolist() == [3] * 4
    assert (pictures[:, 0] != pictures[:, 1]).flatten(1).any(1).all()


def test_a_trunk_learns_and_starts_networks(people, tmp_path):
    losses, state = trained(people, tmp_path / "a.safetensors")
    assert len(losses) == 12 and losses[-1] < 0.8 * losses[0]
    backbone = build_backbone(BACKBONE.model_copy(update={"weights": str(tmp_path / "a.safetensors")}))
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())
    again, same = trained(people, tmp_path / "b.safetensors")
    assert again == losses and all(torch.equal(value, same[name]) for name, value in state.items())


@pytest.mark.parametrize(
    "other",
    [
        replace(WEIGHTS, config=BACKBONE.model_copy(update={"width": 16})),
        replace(WEIGHTS, image=ImageConfig(height=96, width=32, padding=2)),
        replace(WEIGHTS, recipe=Recipe(epochs=3)),
    ],
)
def test_weights_are_named_by_what_they_depend_on(other, tmp_path):
    assert replace(WEIGHTS).file(tmp_path) == WEIGHTS.file(tmp_path) != other.file(tmp_path)


def test_a_chain_begins_with_its_drawn_trunk(tiny: Config, make_split, make_pixels, tmp_path):
    drawn = override(tiny, {f"{stage}.backbone.weights": "synthetic" for stage in ("dsgan", "reid")})
    backbone = SyntheticWeights.of(drawn.reid.backbone, drawn.image)
    assert backbone is not None and SyntheticWeights.of(tiny.reid.backbone, tiny.image) is None
    file = backbone.file(tmp_path)
    torch.manual_seed(5)
    first = build_backbone(tiny.reid.backbone)
    save_file(first.state_dict(), file)
    chain = TrialTraining(drawn, 1, make_split(range(0, 5)), None, make_pixels(), tmp_path)
    with chain.with_local_weights("reid") as config:
        assert config.reid.backbone.weights == str(file)
        built = build_backbone(config.reid.backbone).state_dict()
    assert all(torch.equal(value, built[name]) for name, value in first.state_dict().items())
    blank = replace(chain, config=tiny)
    assert blank.model_key != chain.model_key and blank.generators_key != chain.generators_key
    assert [result.stage for result in run_stages(chain, Worker())][-1] == "reid"
    assert chain.model_file.is_file()
