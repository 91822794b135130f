"""One step of each stage with the published recipe, at full size: ten gigabytes and a minute."""

from __future__ import annotations

import pytest
import torch

from tsme.data.types import MODALITIES
from tsme.presets import preset
from tsme.settings import override
from tsme.training.distributed import Worker
from tsme.training.dsgan import DsganTask
from tsme.training.reid import Pixels, ReidTask

NO_WEIGHTS = {f"{stage}.backbone.weights": "none" for stage in ("dsgan", "reid")}


def noise(count: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, 288, 144), dtype=torch.uint8, generator=random)


@pytest.mark.parametrize("name", ["regdb", "sysu", "llcm"])
def test_presets_have_the_papers_settings(name):
    config = preset(name)
    assert (config.image.height, config.image.width) == (288, 144)
    assert config.reid.backbone == config.dsgan.backbone
    backbone = config.reid.backbone
    assert (backbone.architecture, backbone.width, backbone.weights) == ("resnet50", 64, "imagenet")
    assert (config.reid.identities, config.reid.images, config.reid.epochs) == (4, 6, 60)
    optimizer = config.reid.optimizer
    assert (optimizer.backbone_factor, optimizer.momentum, optimizer.weight_decay) == (0.1, 0.9, 5e-4)
    assert (optimizer.milestones, optimizer.decay) == ((20, 40, 60), 0.1)
    assert (config.reid.loss.hetero_centre, config.reid.loss.margin) == (0.5, 0.0)


@pytest.mark.slow
def test_a_step_of_stage_2(make_split):
    config = override(preset("regdb"), NO_WEIGHTS)
    images = dict.fromkeys(MODALITIES, noise(24))
    task = ReidTask(config, make_split(range(4), 6), Pixels(images, images), Worker())
    before = {name: p.detach().clone() for name, p in task.network.named_parameters()}
    losses = task.step(next(iter(task.step_batches(1))))
    assert all(bool(torch.isfinite(loss)) for loss in losses.values())
    assert all(not torch.equal(p, before[name]) for name, p in task.network.named_parameters())


@pytest.mark.slow
def test_a_step_of_stage_1():
    config = override(preset("regdb"), NO_WEIGHTS | {"dsgan.batch": 2})
    task = DsganTask(config, noise(2), noise(2), Worker())
    before = [p.detach().clone() for p in task.generators.parameters()]
    losses = task.step(next(iter(task.step_batches(1))))
    assert all(bool(torch.isfinite(loss)) for loss in losses.values())
    moved = [not torch.equal(p, old) for p, old in zip(task.generators.parameters(), before, strict=True)]
    assert all(moved)
