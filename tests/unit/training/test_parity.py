"""The network and its losses in float64 against the plain published way, to the last digits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.benchmarks.reference.networks import ImageNetRange, PlainReid
from tests.benchmarks.reference.training import reference_losses
from tsme.config import BackboneConfig, ReidConfig, ReidLossConfig
from tsme.losses import reid_losses
from tsme.models.backbone import Normalise
from tsme.models.reid import TsmeNet

LABELS = torch.tensor([2, 0, 2, 0, 1]), torch.tensor([0, 2, 2, 3, 0])  # 1 and 3 in one modality only
LOSS = ReidLossConfig(hetero_centre=0.7, margin=0.05, fused=1.1, real=0.6, translated=0.4)
TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(params=["resnet10", "resnet50"])
def networks(request, unsettle) -> tuple[TsmeNet, PlainReid]:
    """Ours and the plain one, with the same weights and constants, in training mode."""
    backbone = BackboneConfig(architecture=request.param, width=8, weights="none")
    torch.manual_seed(0)
    config = ReidConfig(backbone=backbone, embedding=7)
    ours, plain = TsmeNet(config, 4), PlainReid(config, 4)
    unsettle(ours)
    plain.load_state_dict(ours.state_dict())
    ours, plain = ours.double(), plain.double()
    mean, std = (torch.tensor(x).double().view(1, 3, 1, 1) for x in MEAN_AND_STD)
    for module in ours.modules():  # constants to the last digit, which float32 has rounded
        if isinstance(module, Normalise):
            module.scale, module.shift = 0.5 / std, (0.5 - mean) / std
    for module in plain.modules():
        if isinstance(module, ImageNetRange):
            module.mean, module.std = mean, std
    return ours, plain


MEAN_AND_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images() -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    return [torch.rand(5, 3, 96, 48, generator=random, dtype=torch.float64) * 2 - 1 for _ in range(4)]


def test_outputs_losses_and_gradients_are_those_of_the_plain_way(networks):
    ours, plain = networks
    outputs, expected = ours(*images()), plain(*images())
    for kind, heads in outputs._asdict().items():
        for got, wanted in zip(heads, expected[kind], strict=True):
            torch.testing.assert_close(list(got), list(wanted), **TOLERANCE)
    terms, plain_terms = reid_losses(outputs, *LABELS, LOSS), reference_losses(expected, *LABELS, LOSS)
    assert terms.keys() == plain_terms.keys()
    for name, term in terms.items():
        torch.testing.assert_close(term, plain_terms[name], **TOLERANCE)
    terms["total"].backward()
    plain_terms["total"].backward()
    theirs = dict(plain.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, **TOLERANCE)
        assert bool(parameter.grad.any())


def test_embeddings_are_those_of_the_plain_way(networks):
    ours, plain = (network.eval() for network in networks)
    with torch.no_grad():
        for modality in ("visible", "infrared"):
            image, translation = images()[:2]
            got, wanted = (n.embed(image, translation, modality) for n in (ours, plain))
            torch.testing.assert_close(got, wanted, **TOLERANCE)
