"""Folded networks against the networks they were made of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tsme.config import BackboneConfig, DsganConfig, ReidConfig
from tsme.models.dsgan import Generator
from tsme.models.inference import folded
from tsme.models.reid import TsmeNet

ARCHITECTURES = ("resnet10", "resnet50")


def backbone(architecture: str) -> BackboneConfig:
    return BackboneConfig(architecture=architecture, width=8, weights="none")


@pytest.fixture(params=ARCHITECTURES)
def network(request, unsettle) -> TsmeNet:
    torch.manual_seed(0)
    network = TsmeNet(ReidConfig(backbone=backbone(request.param), embedding=6), 5).eval()
    unsettle(network)
    return network


def picture(seed: int) -> Tensor:
    return torch.rand(3, 3, 96, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@torch.no_grad()
@pytest.mark.parametrize("modality", ["visible", "infrared"])
def test_a_folded_network_describes_alike(network, modality):
    ready = folded(network)
    expected = network.embed(picture(1), picture(2), modality)
    got = ready.embed(picture(1), picture(2), modality)
    assert (got - expected).abs().max() < 1e-4 * expected.abs().max()
    other = ready.embed(picture(1), picture(3), modality)
    assert (other - expected).abs().max() > 1e-2 * expected.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_folded_generator_translates_alike(architecture, unsettle):
    torch.manual_seed(1)
    generator = Generator(DsganConfig(backbone=backbone(architecture))).eval()
    unsettle(generator)
    torch.testing.assert_close(folded(generator)(picture(1)), generator(picture(1)), rtol=1e-4, atol=1e-4)


def test_nothing_is_left_to_fold_and_the_network_stays_as_it_was(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    ready = folded(network)
    assert not any(isinstance(module, _BatchNorm) for module in ready.modules())
    assert not ready.training and not any(p.requires_grad for p in ready.parameters())
    assert network.training and all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert folded(ready) is ready


def test_a_norm_that_no_layer_can_hold_is_not_dropped():
    with pytest.raises(AssertionError):
        folded(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)))
