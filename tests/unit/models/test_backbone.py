"""The ResNet backbone against torchvision's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import resnet18, resnet34, resnet50

from tsme.config import BackboneConfig
from tsme.errors import UserError
from tsme.models.backbone import Backbone, Normalise, build_backbone

PUBLISHED = {"resnet18": resnet18, "resnet34": resnet34, "resnet50": resnet50}


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_are_torchvisions_without_the_classifier(name):
    with torch.device("meta"):
        ours, theirs = Backbone(name, 64).state_dict(), PUBLISHED[name]().state_dict()
    expected = {k: v.shape for k, v in theirs.items() if not k.startswith("fc.")}
    assert {k: v.shape for k, v in ours.items()} == expected


@pytest.fixture(scope="module")
def published() -> nn.Module:
    torch.manual_seed(1)
    return resnet18().eval()


@pytest.fixture
def weights(published: nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "resnet18.safetensors"
    save_file(published.state_dict(), path)
    return path


def torchvision_maps(network: nn.Module, x: Tensor) -> list[Tensor]:
    stem = network.relu(network.bn1(network.conv1(x)))
    one = network.layer1(network.maxpool(stem))
    two = network.layer2(one)
    return [stem, one, two, network.layer3(two)]


def test_a_file_of_torchvisions_weights_gives_torchvisions_maps(published, weights):
    backbone = build_backbone(BackboneConfig(architecture="resnet18", weights=str(weights))).eval()
    x = torch.randn(2, 3, 48, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for ours, theirs in zip(backbone(x), torchvision_maps(published, x), strict=False):
            torch.testing.assert_close(ours, theirs)
    assert torch.equal(backbone.layer4[1].conv2.weight, published.layer4[1].conv2.weight)


def test_a_file_without_batch_counters_loads(published, tmp_path):
    """PyTorch files from before 0.4.1 have none, and torchvision loads them."""
    path = tmp_path / "old.safetensors"
    state = published.state_dict()
    save_file({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, path)
    backbone = build_backbone(BackboneConfig(architecture="resnet18", weights=str(path)))
    assert torch.equal(backbone.conv1.weight, published.conv1.weight)


def damage(state: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    if how == "missing":
        return {k: v for k, v in state.items() if k != "layer3.0.conv1.weight"}
    if how == "unexpected":
        return state | {"layer5.weight": torch.zeros(1)}
    return state | {"layer3.0.conv1.weight": torch.zeros(2, 2)}


@pytest.mark.parametrize("how", ["missing", "unexpected", "shape"])
def test_weights_that_do_not_fit_are_a_user_error(published, tmp_path, how):
    path = tmp_path / f"{how}.safetensors"
    save_file(damage(published.state_dict(), how), path)
    name = "layer5.weight" if how == "unexpected" else r"layer3\.0\.conv1\.weight"
    with pytest.raises(UserError, match=rf"{how}\.safetensors: does not fit resnet18.*{name}"):
        build_backbone(BackboneConfig(architecture="resnet18", weights=str(path)))


@pytest.mark.parametrize(("architecture", "width"), [("resnet34", 64), ("resnet18", 32)])
def test_weights_of_another_network_are_a_user_error(weights, architecture, width):
    with pytest.raises(UserError, match=f"does not fit {architecture} of width {width}"):
        build_backbone(BackboneConfig(architecture=architecture, width=width, weights=str(weights)))


def test_a_missing_or_foreign_weights_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"absent\.safetensors: no such weights file"):
        build_backbone(
            BackboneConfig(architecture="resnet18", weights=str(tmp_path / "absent.safetensors"))
        )
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(b"not a model at all")
    with pytest.raises(UserError, match=r"foreign\.safetensors: not a safetensors file"):
        build_backbone(BackboneConfig(architecture="resnet18", weights=str(foreign)))


@pytest.mark.parametrize("architecture", ["resnet10", "resnet18", "resnet34", "resnet50"])
def test_maps_have_the_strides_and_widths_of_the_method(architecture):
    with torch.device("meta"):
        backbone = Backbone(architecture, 16)
        maps = backbone(torch.zeros(2, 3, 96, 48))
    wide = 4 if architecture == "resnet50" else 1
    channels = [16, 16 * wide, 32 * wide, 64 * wide, 128 * wide]
    assert backbone.channels == channels
    for x, width, stride in zip(maps, channels, (2, 4, 8, 16, 16), strict=True):
        assert x.shape == (2, width, 96 // stride, 48 // stride)


def test_normalise_maps_pixels_to_imagenets_statistics():
    x = torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    # Pixels 0, 0.5 and 1 of red, green and blue.
    expected = [(0 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert Normalise()(x).flatten().tolist() == pytest.approx(expected, rel=1e-5)
    assert not Normalise().state_dict()
