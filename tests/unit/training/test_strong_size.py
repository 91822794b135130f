"""The stronger recipe at its real size, counted: parameters, and bytes of a trial's file."""

from __future__ import annotations

import torch
from torch import nn

from tsme.models.dsgan import Generators
from tsme.models.reid import TsmeNet
from tsme.models.sharing import unique_state
from tsme.presets import baseline, preset, regdb_strong
from tsme.settings import override

UNFETCHED = {f"{stage}.backbone.weights": "none" for stage in ("dsgan", "reid")}


def millions(network: nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


def test_the_stronger_recipe_trains_and_keeps_less_than_half_of_the_papers():
    config = override(regdb_strong(), UNFETCHED)
    with torch.device("meta"):
        network, generators = TsmeNet(config.reid, 206), Generators(config.dsgan)
    assert 30 < millions(network) < 45 and 35 < millions(generators) < 45
    kept = sum(x.nbytes for part in (network, generators) for x in unique_state(part).values())
    assert 280e6 < kept < 320e6


def test_the_baseline_is_one_network():
    config = override(baseline(), UNFETCHED)
    assert preset("baseline") == baseline()
    assert (config.reid.optimizer.lr, config.reid.optimizer.warmup, config.reid.epochs) == (0.1, 10, 80)
    with torch.device("meta"):
        network = TsmeNet(config.reid, 206)
    assert 24 < millions(network) < 25
    first, second = (network.streams[m][0].backbone for m in ("visible", "infrared"))
    assert first.layer1[0].bn1 is second.layer1[0].bn1 and first.conv1 is not second.conv1
