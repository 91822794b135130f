"""Options of the re-ID network: generalised-mean pooling, without translations, without IAI."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tsme.config import BackboneConfig, ReidConfig, ReidLossConfig
from tsme.losses import reid_losses
from tsme.models.reid import TsmeNet


def network(**options: object) -> TsmeNet:
    torch.manual_seed(0)
    small = BackboneConfig(architecture="resnet10", width=8, weights="none")
    return TsmeNet(ReidConfig(backbone=small, embedding=6, **options), 5).eval()


def pictures(count: int, seed: int) -> Tensor:
    return torch.rand(count, 3, 96, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_generalised_mean_pooling_of_the_fused_maps():
    net, image, translation = network(pooling_power=3.0), pictures(2, 1), pictures(2, 2)
    real, translated = net.maps(image, translation, "visible")
    fused = ((real + translated) / 2).detach()
    pooled = net.pool(net.head_inputs(image, translation, "visible")[0], 6)
    for stripe in range(6):
        piece = fused[:, :, stripe : stripe + 1]  # maps are 6 rows high
        expected = (piece.clamp_min(1e-6) ** 3).mean((2, 3)) ** (1 / 3)
        torch.testing.assert_close(pooled[stripe], expected)


def test_a_high_power_pools_towards_the_maximum_and_gradients_stay_finite():
    net = network(pooling_power=6.0)
    out = net(*(pictures(2, seed) for seed in range(4)))
    torch.stack([e.sum() for kind in out for e in kind.embeddings]).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.streams.parameters())
    x = net.maps(pictures(2, 0), pictures(2, 1), "visible")[0].detach()
    seen = x.clamp_min(1e-6).pow(6).permute(0, 2, 3, 1).mean(2)
    highest, mean = x.amax((2, 3)), x.mean((2, 3))
    pooled = net.pool(seen, 1)[0]
    assert (pooled <= highest + 1e-6).all() and (pooled >= mean - 1e-6).all()


def test_without_pwif_there_are_two_streams_and_translations_are_not_looked_at():
    net = network(translation="none", iai=False)
    assert [len(streams) for streams in net.streams.values()] == [1, 1]
    out = net(pictures(2, 1), None, pictures(2, 2), None)
    assert [len(kind.logits) for kind in out] == [6, 0, 0]
    real = net.streams["visible"][0](pictures(2, 1))
    expected = torch.stack([real[:, :, k].mean(2) for k in range(6)])
    torch.testing.assert_close(net.pool(net.head_inputs(pictures(2, 1), None, "visible")[0], 6), expected)
    assert torch.equal(
        net.embed(pictures(2, 1), None, "visible"),
        net.embed(pictures(2, 1), pictures(2, 9), "visible"),
    )


def test_without_iai_the_six_fused_heads_are_left():
    net = network(iai=False)
    out = net(*(pictures(2, seed) for seed in range(4)))
    assert [len(kind.logits) for kind in out] == [6, 0, 0]
    labels = torch.tensor([0, 1])
    terms = reid_losses(out, labels, labels, ReidLossConfig())
    assert set(terms) == {"fused_identity", "fused_centre", "total"}
    terms["total"].backward()
    assert all(p.grad is not None for p in net.parameters())


def test_iai_takes_translations():
    with pytest.raises(ValueError, match=r"reid\.iai=false"):
        ReidConfig(translation="none")
