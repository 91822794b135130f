"""DSGAN's generator and discriminator."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tsme.config import BackboneConfig, DsganConfig, DsganLossConfig
from tsme.losses import generator_losses
from tsme.models.dsgan import Discriminator, Discriminators, Generator, Generators

STAGES = {"decode4": 16, "decode3": 16, "decode2": 8, "decode1": 4, "to_image": 2}  # strides of inputs


def config(architecture: str = "resnet10", width: int = 8) -> DsganConfig:
    return DsganConfig(backbone=BackboneConfig(architecture=architecture, width=width, weights="none"))


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(config()).eval()


def picture(seed: int = 0, height: int = 64, width: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_output_has_the_shape_of_the_input_and_its_range(generator):
    for size in ((64, 32), (32, 16), (96, 48)):
        for scale in (1, 1000):
            out = generator(scale * picture(0, *size)).detach()
            assert out.shape == (2, 3, *size)
            assert float(out.abs().max()) <= 1
    assert float(generator(1000 * picture()).detach().std()) > 0.1


def test_output_is_differentiable_in_the_input(generator):
    image = picture().requires_grad_()
    generator(image).sum().backward()
    assert torch.isfinite(image.grad).all() and image.grad.any()


def decoder_inputs(network: Generator, image: torch.Tensor) -> dict[str, torch.Tensor]:
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        getattr(network, name).register_forward_pre_hook(
            lambda _, inputs, name=name: seen.update({name: inputs[0].detach().clone()})
        )
        for name in STAGES
    ]
    with torch.no_grad():
        network(image)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize(
    ("architecture", "widths"),
    [
        ("resnet10", [128, 64, 32, 16, 16]),  # a quarter of resnet18's 512, 256, 128, 64, 64
        ("resnet50", [512, 256, 128, 64, 16]),  # a quarter of the paper's 2048, 1024, 512, 256, 64
    ],
)
def test_decoder_climbs_back_through_the_encoders_resolutions(architecture, widths):
    network = Generator(config(architecture, 16)).eval()
    inputs = decoder_inputs(network, picture())
    for (name, stride), width in zip(STAGES.items(), widths, strict=True):
        assert inputs[name].shape == (2, width, 64 // stride, 32 // stride)


def test_decoder_of_resnet50_has_the_published_widths():
    with torch.device("meta"):
        network = Generator(config("resnet50", 64))
    stages = (network.decode4, network.decode3, network.decode2, network.decode1)
    assert [stage[-1].conv3.out_channels for stage in stages] == [1024, 512, 256, 128]
    assert [len(stage) for stage in stages] == [2, 2, 2, 2]
    assert network.encoder.layer4[0].conv2.stride == (1, 1)
    for up, channels in ((network.up3, (512, 512)), (network.up2, (256, 256)), (network.up1, (128, 64))):
        convolution = up[0]
        assert (convolution.in_channels, convolution.out_channels) == channels
        assert (convolution.kernel_size, convolution.stride) == ((4, 4), (2, 2))
        assert isinstance(up[1], nn.ReLU)


@pytest.mark.parametrize(
    ("encoder_map", "stage"), [(0, "to_image"), (1, "decode1"), (2, "decode2"), (3, "decode3")]
)
def test_each_skip_adds_its_encoder_map_to_the_next_stages_input(generator, encoder_map, stage):
    image = picture()
    before = decoder_inputs(generator, image)
    with torch.no_grad():
        maps = [m.clone() for m in generator.encoder(generator.normalise(image))]
        out = generator(image)

    def zeroed(_, __, outputs):
        return tuple(torch.zeros_like(m) if k == encoder_map else m for k, m in enumerate(outputs))

    hook = generator.encoder.register_forward_hook(zeroed)
    after = decoder_inputs(generator, image)
    with torch.no_grad():
        changed = generator(image)
    hook.remove()
    torch.testing.assert_close(before[stage] - after[stage], maps[encoder_map], rtol=1e-4, atol=1e-5)
    assert maps[encoder_map].any()
    assert not torch.allclose(out, changed, atol=1e-4)


def test_encoder_sees_normalised_pixels(generator):
    seen = []
    generator.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    generator(torch.full((1, 3, 32, 16), -1.0))
    black = [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx(black, rel=1e-5)


@pytest.mark.parametrize(("height", "width"), [(288, 144), (64, 32), (32, 16)])
def test_discriminator_gives_a_map_of_patch_scores(height, width):
    network = Discriminator(4)
    # Stride 2 four times; the last 4 x 4 convolution with padding 2 adds one.
    shape = (2, 1, height // 16 + 1, width // 16 + 1)
    assert network(picture(0, height, width)).shape == shape


def test_discriminator_is_the_published_patchgan():
    with torch.device("meta"):
        layers = list(Discriminator(128))
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [128, 128, 256, 512, 1]
    assert [c.in_channels for c in convolutions] == [3, 128, 128, 256, 512]
    assert [c.stride for c in convolutions] == [(2, 2)] * 4 + [(1, 1)]
    assert {c.kernel_size for c in convolutions} == {(4, 4)}
    kinds = [type(layer).__name__ for layer in layers]
    normed = ["Conv2d", "InstanceNorm2d", "LeakyReLU"]
    assert kinds == ["Conv2d", "LeakyReLU", *normed * 3, "Conv2d"]
    assert {layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)} == {0.2}


def test_discriminator_scores_an_image_alone():
    torch.manual_seed(0)
    network, images = Discriminator(4), picture()
    for mode in (True, False):  # instance norm has no batch and no running statistics
        network.train(mode)
        torch.testing.assert_close(network(images)[:1], network(images[:1]))


def test_translators_send_each_image_through_the_right_generators():
    torch.manual_seed(0)
    pair, visible, infrared = Generators(config()).eval(), picture(1), picture(2)
    with torch.no_grad():
        got = pair(visible, infrared)
        visible_to_infrared, infrared_to_visible = pair.visible_to_infrared, pair.infrared_to_visible
        expected = {
            "fake_infrared": visible_to_infrared(visible),
            "fake_visible": infrared_to_visible(infrared),
            "cycled_visible": infrared_to_visible(visible_to_infrared(visible)),
            "cycled_infrared": visible_to_infrared(infrared_to_visible(infrared)),
            "same_infrared": visible_to_infrared(infrared),
            "same_visible": infrared_to_visible(visible),
        }
    for name, image in expected.items():
        torch.testing.assert_close(getattr(got, name), image, msg=name)
    assert not torch.allclose(got.fake_infrared, got.same_visible)


def test_without_an_identity_loss_its_translations_are_not_made():
    torch.manual_seed(0)
    loss = DsganLossConfig(identity=0.0)
    visible, infrared = picture(1), picture(2)
    pair = Generators(config().model_copy(update={"loss": loss})).eval()
    made = pair(visible, infrared)
    assert made.same_infrared is None and made.same_visible is None
    torch.testing.assert_close(made.fake_infrared, pair.visible_to_infrared(visible))
    scores = torch.rand(2, 2, 1, 3, 2)
    terms = generator_losses(made, visible, infrared, *scores, loss)
    assert set(terms) == {"adversarial", "cycle", "total"}
    torch.testing.assert_close(terms["total"], terms["adversarial"] + loss.cycle * terms["cycle"])


def test_discriminators_score_their_own_modality():
    torch.manual_seed(0)
    discriminators, images = Discriminators(4), [picture(seed) for seed in range(4)]
    scores = discriminators(*images)
    expected = [discriminators.visible(images[0]), discriminators.visible(images[1])]
    expected += [discriminators.infrared(images[2]), discriminators.infrared(images[3])]
    names = ("real_visible", "fake_visible", "real_infrared", "fake_infrared")
    for name, value in zip(names, expected, strict=True):
        torch.testing.assert_close(getattr(scores, name), value, msg=name)
