"""The streams of the re-identification network: gated ResNets, with or without shared convolutions.

Sharing from layer2 on is Liu, Tan, Zhou, IEEE TMM 2021; all but the stem is AGW, Ye et al., TPAMI 2021.
Shapes: B images, C channels of the last layer. Images are (B, 3, H, W) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsme.config import Share
from tsme.models.backbone import Backbone, BatchNorm, Normalise, run_blocks, side_by_side
from tsme.models.sharing import share_modules

LAYERS = ("stem", "layer1", "layer2", "layer3", "layer4")
GATED = ("layer3", "layer4")


def gate(x: Tensor) -> Tensor:
    """Channel gate without parameters: sigmoid(average pool + max pool) * x, for (B, C, h, w)."""
    # Not x.amax: its gradient is divided among equal maxima, which takes several passes over the maps.
    return torch.sigmoid(x.mean((2, 3), keepdim=True) + F.adaptive_max_pool2d(x, 1)) * x


class Stream(nn.Module):
    """A ResNet whose layer3 and layer4 outputs are gated: (B, 3, H, W) -> (B, C, H/16, W/16)."""

    def __init__(self, backbone: Backbone, *, gates: bool = True, last_layer: int = 4) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.backbone = backbone
        self.gated = GATED if gates else ()
        self.layers = LAYERS[: last_layer + 1]
        if last_layer == 3:
            del backbone.layer4
            backbone.channels = backbone.channels[:-1]

    def forward(self, image: Tensor) -> Tensor:
        """Map of the last layer, gated."""
        x = self.normalise(image)
        for layer in self.layers:
            x = run_layer([self], layer, x, [x.shape[0]])
        return x

    def parts(self, layer: str) -> list[nn.Module]:
        """The layer's modules that hold weights."""
        backbone = self.backbone
        return [backbone.conv1, backbone.bn1] if layer == "stem" else [getattr(backbone, layer)]


def run_streams(streams: Sequence[Stream], images: Sequence[Tensor]) -> list[Tensor]:
    """Each stream's map of its images; shared convolutions take all images as one batch."""
    layers = streams[0].layers
    start = next((k for k, layer in enumerate(layers) if _shared(streams, layer)), len(layers))
    if len(streams) == 1 or start == len(layers):
        return [stream(x) for stream, x in zip(streams, images, strict=True)]
    sizes = [len(x) for x in images]
    parts = []
    for stream, part in zip(streams, images, strict=True):
        part = stream.normalise(part)
        for layer in layers[:start]:
            part = run_layer([stream], layer, part, [len(part)])
        parts.append(part)
    x = torch.cat(parts)
    for layer in layers[start:]:
        x = run_layer(streams, layer, x, sizes)
    return list(x.split(sizes))


def _shared(streams: Sequence[Stream], layer: str) -> bool:
    """Whether all streams have the same convolutions in a layer."""
    kernels = [next(part.parameters()) for stream in streams for part in stream.parts(layer)[:1]]
    return all(kernel is kernels[0] for kernel in kernels)


def run_layer(streams: Sequence[Stream], layer: str, x: Tensor, sizes: Sequence[int]) -> Tensor:
    """One layer of all streams for the batch x, of which each stream's images are a slice."""
    first = streams[0]
    backbones = [stream.backbone for stream in streams]
    if layer == "stem":
        for name in ("conv1", "bn1"):
            x = side_by_side([getattr(backbone, name) for backbone in backbones], x, sizes)
        return cast(Tensor, first.backbone.maxpool(first.backbone.relu(x)))
    if len(backbones) == 1:
        x = getattr(backbones[0], layer)(x)
    else:
        for blocks in zip(*(getattr(backbone, layer) for backbone in backbones), strict=True):
            x = run_blocks(blocks, x, sizes)
    return gate(x) if layer in first.gated else x


def share_layers(streams: Sequence[Stream], share: Share, *, norms: bool) -> None:
    """Let all streams use the first one's convolutions from layer `share` on; with `norms`, norms too."""
    if share == "none":
        return
    kinds: tuple[type[nn.Module], ...] = (nn.Conv2d, BatchNorm) if norms else (nn.Conv2d,)
    first = streams[0]
    for layer in first.layers[first.layers.index(share) :]:
        for other in streams[1:]:
            if layer == "stem":
                other.backbone.conv1 = first.backbone.conv1
                if norms:
                    other.backbone.bn1 = first.backbone.bn1
            else:
                share_modules(getattr(first.backbone, layer), getattr(other.backbone, layer), kinds)
