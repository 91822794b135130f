"""The ResNet backbone of streams and generators (He et al., CVPR 2016), with torchvision's names.

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from tsme.config import Architecture, BackboneConfig
from tsme.errors import UserError
from tsme.storage.digest import file_digest


class BatchNorm(nn.BatchNorm2d):
    """Batch norm without the counter of steps, which nothing reads and which costs a GPU kernel."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same, by the batch's statistics in training, else by the running ones."""
        statistics = self.running_mean, self.running_var, self.weight, self.bias
        return F.batch_norm(x, *statistics, self.training, self.momentum or 0.0, self.eps)


class ResidualBlock(nn.Module):
    """A residual block: convolutions with batch norms, and a shortcut; (B, C, h, w) -> (B, D, ...)."""

    pairs: tuple[tuple[str, str], ...]  # attributes: a convolution and the batch norm after it
    relu: nn.ReLU
    downsample: nn.Sequential | None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, D, h / stride, w / stride)."""
        return run_blocks([self], x, [x.shape[0]])


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions: (B, C, h, w) -> (B, planes, h / stride, ...)."""

    expansion = 1
    pairs = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, inputs: int, planes: int, stride: int, downsample: nn.Sequential | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = BatchNorm(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = BatchNorm(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample


class Bottleneck(ResidualBlock):
    """1x1, 3x3 and 1x1 convolutions: (B, C, h, w) -> (B, 4 planes, h / stride, ...).

    The stride is that of the 3x3 convolution ("v1.5"), as in the published ImageNet weights.
    """

    expansion = 4
    pairs = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

    def __init__(self, inputs: int, planes: int, stride: int, downsample: nn.Sequential | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = BatchNorm(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = BatchNorm(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = BatchNorm(4 * planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample


def side_by_side(modules: Sequence[nn.Module], x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Apply each module to its slice of the batch x; if all are the same module, apply it to x at once.

    `sizes` are the lengths of the slices, one for each module.
    """
    if all(module is modules[0] for module in modules):
        return cast(Tensor, modules[0](x))
    return torch.cat([module(part) for module, part in zip(modules, x.split(sizes), strict=True)])


def run_blocks(blocks: Sequence[ResidualBlock], x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Apply residual blocks of equal shape, one from each stream, each to its slice of the batch x."""
    first = blocks[0]
    shortcut = x
    if first.downsample is not None:
        for step in zip(*(cast(nn.Sequential, block.downsample) for block in blocks), strict=True):
            shortcut = side_by_side(step, shortcut, sizes)
    for pair in first.pairs:
        for name in pair:
            x = side_by_side([getattr(block, name) for block in blocks], x, sizes)
        if pair == first.pairs[-1]:
            x += shortcut
        x = first.relu(x)
    return x


Block = type[BasicBlock] | type[Bottleneck]
BLOCKS: dict[Architecture, tuple[Block, tuple[int, int, int, int]]] = {
    "resnet10": (BasicBlock, (1, 1, 1, 1)),
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}


class Backbone(nn.Module):
    """A ResNet without its classifier; layer4 keeps layer3's resolution.

    `channels` lists the widths of the five maps of `forward`: stem and layer1 to layer4.
    """

    def __init__(self, architecture: Architecture, width: int) -> None:
        super().__init__()
        block, depths = BLOCKS[architecture]
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        planes = [width, 2 * width, 4 * width, 8 * width]
        outs = [n * block.expansion for n in planes]
        self.channels = [width, *outs]
        self.layer1 = residual_stage(block, width, planes[0], depths[0], stride=1)
        self.layer2 = residual_stage(block, outs[0], planes[1], depths[1], stride=2)
        self.layer3 = residual_stage(block, outs[1], planes[2], depths[2], stride=2)
        self.layer4 = residual_stage(block, outs[2], planes[3], depths[3], stride=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stem(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, width, H/2, W/2)."""
        return self.relu(self.bn1(self.conv1(x)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> the maps of stem and layer1 to layer4, at strides 2, 4, 8, 16, 16."""
        stem = self.stem(x)
        one = self.layer1(self.maxpool(stem))
        two = self.layer2(one)
        three = self.layer3(two)
        return stem, one, two, three, self.layer4(three)


def residual_stage(block: Block, inputs: int, planes: int, depth: int, *, stride: int) -> nn.Sequential:
    """`depth` residual blocks, the first with `stride` and a projection where shapes differ."""
    outputs = planes * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), BatchNorm(outputs)
        )
    blocks = [block(inputs, planes, stride, downsample)]
    blocks += [block(outputs, planes, 1, None) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def weights_digest(config: BackboneConfig) -> str:
    """Name of the initial weights: a file's SHA-256, else the configured value, such as "imagenet"."""
    path = Path(config.weights)
    if not path.is_file():
        return config.weights
    status = path.stat()
    return _file_digest(path, status.st_size, status.st_mtime_ns)


@cache
def _file_digest(path: Path, size: int, modified: int) -> str:
    """SHA-256 of a file, read once per process unless its size or modification time changes."""
    return file_digest(path).hex()


def build_backbone(config: BackboneConfig) -> Backbone:
    """A backbone with the weights the configuration asks for.

    Raises UserError if a weights file is missing or does not fit.
    """
    backbone = Backbone(config.architecture, config.width)
    if config.weights == "none":
        return backbone
    backbone.load_state_dict(_published_weights(config, backbone))
    return backbone


def _published_weights(config: BackboneConfig, backbone: Backbone) -> dict[str, Tensor]:
    if config.weights == "imagenet":
        from torchvision.models import get_model_weights  # slow to import, and rarely needed

        try:
            state = get_model_weights(config.architecture)["IMAGENET1K_V1"].get_state_dict(progress=True)
        except OSError as error:
            raise UserError(
                f"ImageNet weights of {config.architecture} cannot be fetched ({error}): set "
                "weights to a safetensors file of them, or to none"
            ) from error
    else:
        if not Path(config.weights).is_file():
            raise UserError(f"{config.weights}: no such weights file (imagenet and none also work)")
        try:
            state = load_file(config.weights)
        except Exception as error:
            raise UserError(f"{config.weights}: not a safetensors file ({error})") from error
    state = {name: value for name, value in state.items() if not name.startswith("fc.")}
    expected = {name: value.shape for name, value in backbone.state_dict().items()}
    for name, value in backbone.state_dict().items():
        if name.endswith("num_batches_tracked"):  # older files lack these counters
            state.setdefault(name, value)
    for name in sorted(expected.keys() | state.keys()):
        if name not in state or name not in expected or state[name].shape != expected[name]:
            raise UserError(
                f"{config.weights}: does not fit {config.architecture} of width {config.width}, "
                f"first at {name}"
            )
    return state


class Normalise(nn.Module):
    """Pixels in [-1, 1] to the range ImageNet networks were trained on."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        # ((x + 1) / 2 - mean) / std as one multiplication and one addition. Not in the state dict:
        # constants, the same in every model file.
        self.register_buffer("scale", (0.5 / std).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", ((0.5 - mean) / std).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> same shape, zero mean and unit deviation over ImageNet."""
        return torch.addcmul(self.shift, x, self.scale)
