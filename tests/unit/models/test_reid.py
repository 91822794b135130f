"""The four-stream network: gates, streams, heads, PwIF and IAI."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tsme.config import BackboneConfig, ReidConfig
from tsme.models.reid import TsmeNet, rows, stripes
from tsme.models.streams import gate

E, K = 6, 5
KINDS = {"fused": 6, "real": 2, "translated": 2}


def tiny_config() -> ReidConfig:
    return ReidConfig(
        backbone=BackboneConfig(architecture="resnet10", width=8, weights="none"), embedding=E
    )


@pytest.fixture
def network(unsettle) -> TsmeNet:
    """In evaluation mode, with batch-norm statistics unlike those of a fresh network."""
    torch.manual_seed(0)
    net = TsmeNet(tiny_config(), K).eval()
    unsettle(net)
    return net


def picture(seed: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, 96, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def batch() -> list[Tensor]:
    """Visible (2), its translation, infrared (3), its translation."""
    return [picture(1, 2), picture(2, 2), picture(3, 3), picture(4, 3)]


def naive_gate(x: Tensor) -> Tensor:
    out = torch.empty_like(x)
    for b in range(len(x)):
        for c in range(x.shape[1]):
            values = x[b, c].flatten().tolist()
            pooled = sum(values) / len(values) + max(values)
            out[b, c] = x[b, c] / (1 + math.exp(-pooled))
    return out


def naive_stripe(x: Tensor, count: int, index: int) -> Tensor:
    """(B, C): mean over the rows of one of `count` equal stripes."""
    rows = x.shape[2] // count
    total = torch.zeros(x.shape[:2])
    for y in range(index * rows, (index + 1) * rows):
        for column in range(x.shape[3]):
            total += x[:, :, y, column]
    return total / (rows * x.shape[3])


def test_gate_equals_a_loop_over_channels():
    x = torch.randn(3, 4, 5, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gate(x), naive_gate(x))


@pytest.mark.parametrize(("height", "count"), [(18, 6), (6, 6), (18, 2), (6, 2)])
def test_stripes_equal_a_loop_over_rows(height, count):
    x = torch.randn(2, 3, height, 4, generator=torch.Generator().manual_seed(0))
    got = stripes(rows(x), count)
    assert got.shape == (count, 2, 3)
    for index in range(count):
        torch.testing.assert_close(got[index], naive_stripe(x, count, index))


@pytest.mark.parametrize("modality", ["visible", "infrared"])
@pytest.mark.parametrize("which", [0, 1])
def test_layer3_and_layer4_are_gated_in_every_stream(network, modality, which):
    stream, image, seen = network.streams[modality][which], picture(5), {}
    backbone = stream.backbone
    backbone.layer3.register_forward_hook(lambda _, __, out: seen.update(three=out.clone()))
    backbone.layer4.register_forward_hook(
        lambda _, inputs, out: seen.update(into_four=inputs[0].clone(), four=out.clone())
    )
    with torch.no_grad():
        out = network.maps(image, image, modality)[which]
    torch.testing.assert_close(seen["into_four"], naive_gate(seen["three"]))
    torch.testing.assert_close(out, naive_gate(seen["four"]))
    assert out.shape == (2, 64, 6, 3)
    assert not torch.allclose(out, seen["four"], rtol=1e-3)


def test_streams_start_alike_and_share_nothing(network):
    fresh = TsmeNet(tiny_config(), K)
    streams = [s for pair in fresh.streams.values() for s in pair]
    assert len(streams) == 4
    for name, value in streams[0].state_dict().items():
        assert all(torch.equal(value, s.state_dict()[name]) for s in streams[1:])
    parameters = [p for s in streams for p in s.parameters()]
    assert len({p.data_ptr() for p in parameters}) == len(parameters)
    with torch.no_grad():
        streams[0].backbone.conv1.weight.zero_()
    assert all(s.backbone.conv1.weight.any() for s in streams[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_heads_see_the_stripes_of_their_maps(network, kind):
    seen: list[Tensor] = []
    heads = getattr(network, f"{kind}_heads")
    for head in heads:
        head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    visible, visible_translated, infrared, infrared_translated = batch()
    with torch.no_grad():
        network(visible, visible_translated, infrared, infrared_translated)
        v = network.maps(visible, visible_translated, "visible")
        i = network.maps(infrared, infrared_translated, "infrared")
    expected = {
        "fused": [(v[0] + v[1]) / 2, (i[0] + i[1]) / 2],
        "real": [v[0], i[0]],
        "translated": [v[1], i[1]],
    }
    assert len(heads) == len(seen) == KINDS[kind]
    for index, got in enumerate(seen):
        pieces = [naive_stripe(x, KINDS[kind], index) for x in expected[kind]]
        torch.testing.assert_close(got, torch.cat(pieces))


def outputs(network: TsmeNet, images: list[Tensor]) -> dict[str, list[Tensor]]:
    with torch.no_grad():
        out = network(*images)
    return {kind: [*heads.embeddings, *heads.logits] for kind, heads in out._asdict().items()}


@pytest.mark.parametrize("perturbed", range(4))
def test_which_outputs_depend_on_which_images(network, perturbed):
    """Images 0 and 2 are real, 1 and 3 translated; 0 and 1 visible (rows 0 and 1), 2 and 3 infrared."""
    images = batch()
    before = outputs(network, images)
    images[perturbed] = -images[perturbed]
    after = outputs(network, images)
    own_rows = slice(0, 2) if perturbed < 2 else slice(2, 5)
    other_rows = slice(2, 5) if perturbed < 2 else slice(0, 2)
    reached = {"fused", "real" if perturbed % 2 == 0 else "translated"}
    for kind in KINDS:
        for one, two in zip(before[kind], after[kind], strict=True):
            torch.testing.assert_close(one[other_rows], two[other_rows])
            assert torch.allclose(one[own_rows], two[own_rows], rtol=1e-4, atol=1e-6) != (kind in reached)


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_serves_both_modalities_and_one_stripe(network, kind):
    before = outputs(network, batch())
    with torch.no_grad():
        getattr(network, f"{kind}_heads")[1].classify.bias += 1
    after = outputs(network, batch())
    for name, count in KINDS.items():
        for index in range(2 * count):  # embeddings, then logits
            changed = (before[name][index] != after[name][index]).flatten(1).all(1)
            assert changed.tolist() == [name == kind and index == count + 1] * 5


def test_outputs_have_the_shapes_of_ten_heads(network):
    got = outputs(network, batch())
    assert {kind: len(tensors) // 2 for kind, tensors in got.items()} == KINDS
    for kind, count in KINDS.items():
        assert {tuple(e.shape) for e in got[kind][:count]} == {(5, E)}
        assert {tuple(x.shape) for x in got[kind][count:]} == {(5, K)}


def naive_head(head, x: Tensor) -> Tensor:
    """Linear and batch norm in evaluation mode: the embedding stands before the activation."""
    linear, norm = head.embed[0], head.embed[1]
    x = x @ linear.weight.T + linear.bias
    return (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias


@pytest.mark.parametrize("modality", ["visible", "infrared"])
def test_embedding_is_six_normalised_fused_embeddings_side_by_side(network, modality):
    image, translation = picture(6, 3), picture(7, 3)
    with torch.no_grad():
        got = network.embed(image, translation, modality)
        real, translated = network.maps(image, translation, modality)
        pieces = []
        for index, head in enumerate(network.fused_heads):
            e = naive_head(head, naive_stripe((real + translated) / 2, 6, index))
            pieces.append(e / e.pow(2).sum(1, keepdim=True).sqrt())
    assert got.shape == (3, 6 * E)
    torch.testing.assert_close(got, torch.cat(pieces, dim=1))
    torch.testing.assert_close(got.reshape(3, 6, E).norm(dim=2), torch.ones(3, 6))


def test_embedding_uses_the_streams_of_its_own_modality(network):
    image, translation = picture(6), picture(7)
    with torch.no_grad():
        before = network.embed(image, translation, "visible")
        for stream in network.streams["infrared"]:
            stream.backbone.conv1.weight.zero_()
        assert torch.equal(network.embed(image, translation, "visible"), before)
        for stream in network.streams["visible"]:
            weights = stream.backbone.conv1.weight.clone()
            stream.backbone.conv1.weight.zero_()
            assert not torch.allclose(network.embed(image, translation, "visible"), before, atol=1e-3)
            stream.backbone.conv1.weight.copy_(weights)


def test_embedding_does_not_depend_on_its_neighbours(network):
    image, translation = picture(6, 4), picture(7, 4)
    with torch.no_grad():
        together = network.embed(image, translation, "visible")
        for k in range(4):
            alone = network.embed(image[k : k + 1], translation[k : k + 1], "visible")
            torch.testing.assert_close(alone[0], together[k])


def test_published_size_and_cost():
    """Four ResNet-50 streams (23.508 M each) and ten heads; two streams describe an image."""
    with torch.device("meta"):
        net = TsmeNet(ReidConfig(backbone=BackboneConfig(weights="none")), 206).eval()
        image = torch.zeros(1, 3, 288, 144)
        with FlopCounterMode(display=False) as counter:
            net.embed(image, image, "visible")
    millions = sum(p.numel() for p in net.parameters()) / 1e6
    assert millions == pytest.approx(105.59, abs=0.01)
    assert counter.get_total_flops() / 1e9 == pytest.approx(20.53, abs=0.01)
