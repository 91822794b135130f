"""Figures in the documents that the code can draw: they say what it would draw now."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tsme.config import override
from tsme.models.dsgan import Discriminator, Generator
from tsme.models.reid import TsmeNet
from tsme.presets import regdb

METHOD = Path(__file__).parents[2] / "docs" / "method.md"
SHOWN = {
    "backbone.bn1": "stem",
    "backbone.layer1": "layer1",
    "backbone.layer2": "layer2",
    "backbone.layer3": "layer3, gate",
    "backbone.layer4": "layer4, gate",
    "encoder.bn1": "encoder: stem",
    "encoder.layer1": "encoder: layer1",
    "encoder.layer2": "encoder: layer2",
    "encoder.layer3": "encoder: layer3",
    "encoder.layer4": "encoder: layer4",
    "decode4": "decoder, + layer3",
    "up3": "decoder, + layer2",
    "up2": "decoder, + layer1",
    "up1": "decoder, + stem",
    "to_image": "image",
}


def shapes(network: nn.Module, *inputs: Tensor) -> dict[str, tuple[int, ...]]:
    """What each module puts out for one image, by the module's name."""
    seen: dict[str, tuple[int, ...]] = {}

    def note(name: str, out: object) -> None:
        if isinstance(out, Tensor):
            seen.setdefault(name, tuple(out.shape[1:]))

    for name, module in network.named_modules():
        module.register_forward_hook(lambda _, __, out, name=name: note(name, out))
    network(*inputs)
    return seen


def line(what: str, shape: tuple[int, ...], count: int | None = None) -> str:
    size = " x ".join(map(str, shape))
    return f"{what:<28}{size:<20}{'' if count is None else f'{count / 1e6:6.1f} M'}".rstrip()


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def drawing() -> str:
    """The published networks as they are built: names, maps (channels x height x width), parameters."""
    unfetched = {f"{stage}.backbone.weights": "none" for stage in ("dsgan", "reid")}
    config = override(regdb(), unfetched)
    with torch.device("meta"):
        network, generator = TsmeNet(config.reid, 206).eval(), Generator(config.dsgan).eval()
        judge = Discriminator(config.dsgan.discriminator_width)
        image = torch.zeros(1, 3, config.image.height, config.image.width)
    stream = network.streams["visible"][0]
    lines = [line("each of the 4 streams", (3, 288, 144), parameters(stream))]
    seen = shapes(stream, image)
    lines += [line("  " + SHOWN[name], shape) for name, shape in seen.items() if name in SHOWN]
    for kind in ("fused", "real", "translated"):
        heads = getattr(network, f"{kind}_heads")
        found = shapes(heads[0], torch.zeros(1, 2048, device="meta"))
        lines.append(line(f"each of {len(heads)} {kind} heads", (2048,), parameters(heads[0])))
        lines.append(line("  embedding, identities", (found["embed"][0], found["classify"][0])))
    lines.append(line("each of the 2 generators", (3, 288, 144), parameters(generator)))
    seen = shapes(generator, image)
    lines += [line("  " + SHOWN[name], shape) for name, shape in seen.items() if name in SHOWN]
    lines.append(line("each of 2 discriminators", (3, 288, 144), parameters(judge)))
    lines.append(line("  patch scores", shapes(judge, image)[""]))
    lines.append(line("trained in stage 2", (), parameters(network)))
    return "\n".join(lines)


def test_the_networks_are_drawn_as_they_are():
    wanted = drawing()
    assert wanted in METHOD.read_text(), f"docs/method.md should hold\n{wanted}"
