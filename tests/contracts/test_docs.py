"""Documents that tests can check against the code: the networks' shapes, places named, lengths."""

from __future__ import annotations

import re
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn

from tests.support.deployment import PROJECT
from tsme.models.dsgan import Discriminator, Generator
from tsme.models.reid import TsmeNet
from tsme.presets import regdb
from tsme.settings import override

ROOT = Path(__file__).parents[2]
METHOD = ROOT / "docs" / "method.md"
README_LINES = 150
MODULES = {
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
    """Shape of each module's output for one image, by the module's name."""
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


def network_table() -> str:
    """The published networks as they are built: names, maps (channels x height x width), parameters."""
    unfetched = {f"{stage}.backbone.weights": "none" for stage in ("dsgan", "reid")}
    config = override(regdb(), unfetched)
    with torch.device("meta"):
        network, generator = TsmeNet(config.reid, 206).eval(), Generator(config.dsgan).eval()
        discriminator = Discriminator(config.dsgan.discriminator_width)
        image = torch.zeros(1, 3, config.image.height, config.image.width)
    stream = network.streams["visible"][0]
    lines = [line("each of the 4 streams", (3, 288, 144), parameters(stream))]
    seen = shapes(stream, image)
    lines += [line("  " + MODULES[name], shape) for name, shape in seen.items() if name in MODULES]
    for kind in ("fused", "real", "translated"):
        heads = getattr(network, f"{kind}_heads")
        found = shapes(heads[0], torch.zeros(1, 2048, device="meta"))
        lines.append(line(f"each of {len(heads)} {kind} heads", (2048,), parameters(heads[0])))
        lines.append(line("  embedding, identities", (found["embed"][0], found["classify"][0])))
    lines.append(line("each of the 2 generators", (3, 288, 144), parameters(generator)))
    seen = shapes(generator, image)
    lines += [line("  " + MODULES[name], shape) for name, shape in seen.items() if name in MODULES]
    lines.append(line("each of 2 discriminators", (3, 288, 144), parameters(discriminator)))
    lines.append(line("  patch scores", shapes(discriminator, image)[""]))
    lines.append(line("trained in stage 2", (), parameters(network)))
    return "\n".join(lines)


def test_networks_have_the_documented_shapes():
    expected = network_table()
    assert expected in METHOD.read_text(), f"docs/method.md should hold\n{expected}"


def test_readme_fits_on_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_places_named_for_contributors_exist():
    """Each function or class in the table of places stands in one of the files named beside it."""
    rows = re.findall(r"^\| \S.*\? \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert len(rows) >= 5
    for row in rows:
        code = re.findall(r"`([^`]+)`", row)
        sources = "\n".join((ROOT / name).read_text() for name in code if name.endswith(".py"))
        for name in (name for name in code if name.isidentifier()):
            assert re.search(rf"\b{name}\b", sources), name


def test_the_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert f"\n## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_hosted_ci_runs_what_ci_runs():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    commands = [step.get("run") for step in workflow["jobs"]["test"]["steps"]]
    assert ".ci/run" in commands
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_hooks_are_the_tools_of_make_lint():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["entry"].split()[0].rpartition("/")[2] for hook in repository["hooks"]}
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe and set(re.findall(r"\$\(BIN\)/(\w+)", recipe[1])) == hooks
