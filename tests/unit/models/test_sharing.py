"""Streams and generators that share convolutions: same numbers as apart, one tensor in a file."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tsme.config import BackboneConfig, DsganConfig, ReidConfig
from tsme.data.types import MODALITIES
from tsme.models.backbone import BatchNorm
from tsme.models.checkpoint import load_model, save_model
from tsme.models.dsgan import Generators
from tsme.models.inference import folded
from tsme.models.reid import TsmeNet
from tsme.models.sharing import load_unique_state, unique_state
from tsme.models.streams import LAYERS, Stream, run_streams
from tsme.settings import override

CPU = torch.device("cpu")
SHARES = ("none", *LAYERS)


def network(**options: object) -> TsmeNet:
    torch.manual_seed(0)
    architecture = options.pop("architecture", "resnet10")
    small = BackboneConfig(architecture=architecture, width=8, weights="none")
    return TsmeNet(ReidConfig(backbone=small, embedding=6, **options), 5)


def streams_of(net: TsmeNet) -> list[Stream]:
    return [stream for modality in MODALITIES for stream in net.streams[modality]]


def picture(seed: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, 48, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def batch() -> list[Tensor]:
    """Visible images, their translations, infrared images, their translations; unequally many."""
    return [picture(1, 3), picture(2, 3), picture(3, 4), picture(4, 4)]


@pytest.mark.parametrize(
    ("share", "architecture"), [*((share, "resnet10") for share in SHARES), ("layer2", "resnet50")]
)
def test_one_batch_equals_a_pass_for_each_stream(share, architecture, unsettle):
    net = network(share=share, architecture=architecture)
    unsettle(net)
    together = net.double()
    apart = copy.deepcopy(together)
    images = [x.double() for x in batch()]
    maps = run_streams(streams_of(together), images)
    expected = [stream(x) for stream, x in zip(streams_of(apart), images, strict=True)]
    for got, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)
    for some in (maps, expected):
        torch.stack([(x * (k + 1)).square().mean() for k, x in enumerate(some)]).sum().backward()
    pairs = zip(together.streams.parameters(), apart.streams.parameters(), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12)
    for name, value in together.streams.state_dict().items():  # running statistics as well
        torch.testing.assert_close(value, apart.streams.state_dict()[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("share", SHARES)
def test_what_is_shared_begins_at_the_layer_named(share):
    first, *others = streams_of(network(share=share))
    start = LAYERS.index(share) if share != "none" else len(LAYERS)
    for depth, layer in enumerate(LAYERS):
        for other in others:
            for mine, theirs in zip(first.parts(layer), other.parts(layer), strict=True):
                for one, two in zip(mine.modules(), theirs.modules(), strict=True):
                    if isinstance(one, nn.Conv2d):
                        assert (one is two) == (depth >= start)
                    assert not isinstance(one, BatchNorm) or one is not two


def test_every_stream_has_statistics_of_its_own_unless_norms_are_shared():
    for shared in (False, True):
        net = network(share="layer1", shared_norms=shared)
        net(*batch())
        for name, own in (("bn1", True), ("layer2.0.bn1", not shared)):
            seen = [stream.backbone.get_submodule(name).running_mean for stream in streams_of(net)]
            assert all(torch.equal(x, seen[0]) != own for x in seen[1:]), (name, shared)


def test_shared_norms_see_the_whole_batch():
    """One network for everything is one pass of all images through one stream."""
    net = network(share="stem", shared_norms=True).double()
    images = [x.double() for x in batch()]
    expected = copy.deepcopy(streams_of(net)[0])(torch.cat(images))
    torch.testing.assert_close(torch.cat(run_streams(streams_of(net), images)), expected)


def test_shared_convolutions_are_trained_once():
    count = {s: sum(p.numel() for p in network(share=s).parameters()) for s in SHARES}
    assert count["stem"] < count["layer1"] < count["layer2"] < count["layer4"] < count["none"]
    convolutions = sum(
        m.weight.numel()
        for m in streams_of(network(share="stem"))[0].modules()
        if isinstance(m, nn.Conv2d)
    )
    assert count["none"] - count["stem"] == 3 * convolutions


@pytest.mark.parametrize("shared_norms", [False, True])
def test_a_file_holds_a_shared_tensor_once(tmp_path, make_model, unsettle, shared_norms):
    plain = make_model()
    values = {"reid.share": "stem", "reid.shared_norms": shared_norms, "dsgan.share": True}
    config = override(plain.provenance.config, values)
    net, generators = TsmeNet(config.reid, 3).eval(), Generators(config.dsgan).eval()
    unsettle(net)
    provenance = plain.provenance.model_copy(update={"config": config})
    model = replace(plain, provenance=provenance, network=net, generators=generators)
    file = tmp_path / "model.safetensors"
    save_model(file, model)
    with safe_open(file, framework="pt") as opened:
        names = [n for n in opened.keys() if n.endswith("layer1.0.conv1.weight")]  # noqa: SIM118
    assert len(names) == 2, "of one stream, and of one encoder"
    back = load_model(file, CPU)
    for one, two in zip(streams_of(back.network)[1:], streams_of(net)[1:], strict=True):
        assert one.backbone.layer1[0].conv1 is streams_of(back.network)[0].backbone.layer1[0].conv1
        same = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in same)
    images = picture(1)
    with torch.no_grad():
        for modality in MODALITIES:
            got, wanted = (n.embed(images, images, modality) for n in (back.network, net))
            torch.testing.assert_close(got, wanted)


def test_a_state_with_a_name_too_many_or_too_few_is_refused():
    net = network(share="stem")
    state = unique_state(net)
    assert len(state) < len(net.state_dict())
    load_unique_state(net, state)
    second = "streams.visible.1.backbone.conv1.weight"
    for wrong in ({**state, second: state["streams.visible.0.backbone.conv1.weight"]}, dict(state)):
        if len(wrong) == len(state):
            wrong.pop("streams.visible.0.backbone.conv1.weight")
            with pytest.raises(RuntimeError, match="Missing"):
                load_unique_state(net, wrong)
        else:  # the same tensor under both of its names says the same twice
            load_unique_state(net, wrong)
    with pytest.raises(RuntimeError, match="Unexpected"):
        load_unique_state(net, {**state, "streams.other": torch.zeros(1)})


@torch.no_grad()
@pytest.mark.parametrize("share", ["none", "stem", "layer3"])
def test_a_folded_network_has_its_own_convolutions_in_every_stream(share, unsettle):
    net = network(share=share).eval()
    unsettle(net)
    ready = folded(net)
    for modality in MODALITIES:
        got, wanted = (n.embed(picture(1), picture(2), modality) for n in (ready, net))
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    kernels = [stream.backbone.layer4[0].conv1.weight for stream in streams_of(ready)]
    assert not any(torch.equal(kernels[0], other) for other in kernels[1:])


def test_several_workers_average_the_gradients_of_shared_convolutions(tmp_path):
    alone = network(share="stem")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(copy.deepcopy(alone), gradient_as_bucket_view=True)
        for net in (alone, wrapped):
            out = net(*batch())
            torch.stack([x.square().mean() for kind in out for x in kind.logits]).sum().backward()
        pairs = zip(alone.parameters(), wrapped.module.parameters(), strict=True)
        for one, other in pairs:
            torch.testing.assert_close(one.grad, other.grad)
    finally:
        dist.destroy_process_group()


def generators(**options: object) -> Generators:
    torch.manual_seed(0)
    backbone = BackboneConfig(architecture="resnet10", width=8, weights="none")
    return Generators(DsganConfig(backbone=backbone, **options))


def test_generators_share_convolutions_and_keep_their_norms():
    pair = generators(share=True)
    there, back = pair.visible_to_infrared, pair.infrared_to_visible
    assert there.to_image is back.to_image and there.encoder.conv1 is back.encoder.conv1
    assert there.encoder.bn1 is not back.encoder.bn1
    apart, shared = (sum(p.numel() for p in generators(share=s).parameters()) for s in (False, True))
    assert shared < 0.51 * apart


def test_a_residual_generator_starts_as_the_identity_and_can_leave_it():
    image = picture(5)
    image[0, :, 0, 0], image[0, :, 0, 1] = 1.0, -1.0  # white and black, of which atanh is infinite
    generator = generators(residual=True).visible_to_infrared
    out = generator(image)
    assert (out - image).abs().max() < 1 / 254
    (out - 1).square().mean().backward()
    assert bool(generator.to_image.weight.grad.any()) and torch.isfinite(out).all()
    with torch.no_grad():
        generator.to_image.weight.normal_(std=0.1)
    out = generator(image)
    assert (out - image).abs().max() > 0.05 and out.abs().max() <= 1
    plain = generators().visible_to_infrared
    assert (plain(image) - image).abs().mean() > 0.1
