"""What the network is given and what it is made of: options beside the paper, and the embedding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tsme.config import BackboneConfig, ReidConfig
from tsme.data.images import grayscale
from tsme.models.reid import Head, TsmeNet


def network(**options: object) -> TsmeNet:
    torch.manual_seed(0)
    small = BackboneConfig(architecture="resnet10", width=8, weights="none")
    return TsmeNet(ReidConfig(backbone=small, embedding=6, **options), 5).eval()


def picture(seed: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, 96, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_an_embedding_worked_out_by_hand_stands_before_the_activation():
    head = Head(1, 2, 3, dropout=0.0).eval()
    with torch.no_grad():
        head.embed[0].weight.copy_(torch.tensor([[2.0], [-3.0]]))
        head.embed[0].bias.copy_(torch.tensor([1.0, 0.5]))
        head.embed[1].running_mean.copy_(torch.tensor([1.0, 0.5]))
        head.embed[1].running_var.copy_(torch.tensor([4.0, 9.0]) - head.embed[1].eps)
        head.classify.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 10.0]]))
        head.classify.bias.zero_()
        embedding, logits = head(torch.tensor([[5.0]]))
    # 2 * 5 + 1 = 11, (11 - 1) / 2 = 5; -3 * 5 + 0.5 = -14.5, (-14.5 - 0.5) / 3 = -5: kept as it is.
    torch.testing.assert_close(embedding, torch.tensor([[5.0, -5.0]]))
    # The classifier sees 5 and 0.1 * -5.
    torch.testing.assert_close(logits, torch.tensor([[5.0, -0.5, 0.0]]))


@torch.no_grad()
def test_grayscale_copies_are_made_where_none_are_given():
    net, image = network(translation="grayscale"), picture(1)
    for modality in ("visible", "infrared"):
        given = net.embed(image, grayscale(image), modality)
        assert torch.equal(net.embed(image, None, modality), given)
        assert not torch.allclose(net.embed(image, image, modality), given, atol=1e-3)
    with pytest.raises(AssertionError, match="translations"):
        network().embed(image, None, "visible")


@torch.no_grad()
def test_visible_images_lose_their_colour_in_training_and_in_tests():
    options = {"translation": "none", "iai": False}
    net, image = network(grayscale_visible=True, **options), picture(1)
    assert torch.allclose(net.embed(image, None, "visible"), net.embed(grayscale(image), None, "visible"))
    for other, modality in ((net, "infrared"), (network(**options), "visible")):
        one, two = (other.embed(x, None, modality) for x in (image, grayscale(image)))
        assert not torch.allclose(one, two, atol=1e-3)
    heads = [net(x, None, picture(2), None).fused.logits[0] for x in (image, grayscale(image))]
    torch.testing.assert_close(*heads)


@pytest.mark.parametrize("spelling", ["gray", "gray".replace("a", "e"), "greyscale", "grayscale"])
def test_grayscale_is_spelt_in_one_way(spelling):
    assert ReidConfig(translation=spelling).translation == "grayscale"


@torch.no_grad()
def test_a_network_without_layer4_has_the_maps_of_layer3():
    net, image = network(last_layer=3), picture(1)
    real, _ = net.maps(image, image, "visible")
    assert real.shape == (2, 32, 6, 3)  # 4 x 8 channels at stride 16
    assert not any("layer4" in name for name in net.state_dict())
    assert net.embed(image, image, "visible").shape == (2, 36)
    with pytest.raises(ValueError, match="no layer4"):
        ReidConfig(last_layer=3, share="layer4")


@torch.no_grad()
def test_stripes_and_gates_change_the_embedding():
    image = picture(1)
    assert network(stripes=1).embed(image, image, "visible").shape == (2, 6)
    gated, plain = (network(gates=g).embed(image, image, "visible") for g in (True, False))
    assert not torch.allclose(gated, plain, atol=1e-3)


def test_pooling_with_a_high_power_has_finite_values_and_gradients():
    """p = 10, as published for RegDB: x^10 of small maps is below what float32 can hold."""
    net = network(pooling_power=10.0)
    out = net(*(picture(seed) for seed in range(4)))
    torch.stack([e.sum() for kind in out for e in kind.embeddings]).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.streams.parameters())
    x = torch.tensor([0.0, 1e-5, 0.5, 2.0]).view(1, 1, 1, 4).requires_grad_()
    seen = net._head_inputs(x, x)[0]
    pooled = net.pool(seen, 1)[0, 0, 0]
    assert float(pooled.detach()) == pytest.approx(((0.5**10 + 2.0**10) / 4) ** 0.1, rel=1e-4)
    pooled.backward()
    assert torch.isfinite(x.grad).all()


def test_norms_are_shared_only_where_convolutions_are():
    with pytest.raises(ValueError, match=r"reid\.share"):
        ReidConfig(shared_norms=True)
