"""The four-stream network with PwIF and IAI (Liu et al., TCSVT 2022, section III-B and III-C).

Shapes: B images of one modality, C channels of layer4, E embedding, K identities, P stripes.
Images are (B, 3, H, W) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsme.config import ReidConfig
from tsme.data.types import MODALITIES, Modality
from tsme.models.backbone import Backbone, Normalise, build_backbone
from tsme.numerics import upcast_bf16
from tsme.outputs import HeadOutputs, NetworkOutputs

FUSED_STRIPES = 6
SINGLE_STRIPES = 2
LEAST = 1e-6  # of what a root is taken of


def gate(x: Tensor) -> Tensor:
    """Channel gate without parameters: sigmoid(average pool + max pool) * x, for (B, C, h, w)."""
    # Pooled, not x.amax: its gradient takes several passes over the maps, to share equal maxima out.
    return torch.sigmoid(x.mean((2, 3), keepdim=True) + F.adaptive_max_pool2d(x, 1)) * x


class Stream(nn.Module):
    """A backbone whose layer3 and layer4 outputs are gated: (B, 3, H, W) -> (B, C, H/16, W/16)."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.backbone = backbone

    def forward(self, image: Tensor) -> Tensor:
        """Map of layer4, gated."""
        backbone = self.backbone
        x = backbone.layer1(backbone.maxpool(backbone.stem(self.normalise(image))))
        x = gate(backbone.layer3(backbone.layer2(x)))
        return gate(backbone.layer4(x))


class Head(nn.Module):
    """Embedding and classifier of one stripe: (B, C) -> (B, E), (B, K)."""

    def __init__(self, inputs: int, embedding: int, identities: int, dropout: float) -> None:
        super().__init__()
        project = nn.Linear(inputs, embedding)
        nn.init.kaiming_normal_(project.weight, mode="fan_out")
        nn.init.zeros_(project.bias)
        self.embed = nn.Sequential(project, nn.BatchNorm1d(embedding), nn.LeakyReLU(0.1))
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(embedding, identities)
        nn.init.normal_(self.classify.weight, std=0.001)
        nn.init.zeros_(self.classify.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding and its identity logits."""
        embedding = self.embed(x)
        return embedding, self.classify(self.dropout(embedding))


def rows(x: Tensor) -> Tensor:
    """Average of each row of maps: (B, C, h, w) -> (B, h, C), in float32 at least."""
    wide = torch.float32 if x.dtype == torch.bfloat16 else x.dtype
    return x.permute(0, 2, 3, 1).mean(2, dtype=wide)


def stripes(x: Tensor, count: int) -> Tensor:
    """Average of each of `count` horizontal stripes of averaged rows: (B, h, C) -> (count, B, C)."""
    return F.adaptive_avg_pool1d(x.mT, count).permute(2, 0, 1)


def fuse(real: Tensor, translated: Tensor) -> Tensor:
    """PwIF: the mean of an image's map and its translation's map.

    Of their averaged rows, which comes to the same: all that the heads see of a map are averages.
    """
    return (real + translated) / 2


class TsmeNet(nn.Module):
    """Four unshared streams and ten heads, each head shared by both modalities.

    Without PwIF there are the two streams of real images, without IAI the six fused heads. Pooling is
    (mean of x^p)^(1/p) (GeM; Radenovic et al., TPAMI 2019); with p = 1 it is the mean, as published.
    """

    def __init__(self, config: ReidConfig, identities: int) -> None:
        super().__init__()
        self.power = config.pooling_power
        # All four start from the same weights, as they do from ImageNet's: what the streams of the
        # two modalities share at the start is what the shared heads can align.
        first = build_backbone(config.backbone)

        def stream() -> Stream:
            backbone = Backbone(config.backbone.architecture, config.backbone.width)
            backbone.load_state_dict(first.state_dict())
            return Stream(backbone)

        self.streams = nn.ModuleDict(
            {m: nn.ModuleList(stream() for _ in range(1 + config.pwif)) for m in MODALITIES}
        )

        def heads(count: int) -> nn.ModuleList:
            shape = (first.channels[-1], config.embedding, identities, config.dropout)
            return nn.ModuleList(Head(*shape) for _ in range(count))

        self.fused_heads = heads(FUSED_STRIPES)
        self.real_heads = heads(SINGLE_STRIPES * config.iai)
        self.translated_heads = heads(SINGLE_STRIPES * config.iai)

    def maps(
        self, image: Tensor, translation: Tensor | None, modality: Modality
    ) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) of an image and of its translation, each from its own stream.

        Without translations an image's map stands for both: fused with itself it stays as it is.
        """
        real, *translated = cast(nn.ModuleList, self.streams[modality])
        x = real(image)
        return x, translated[0](translation) if translated else x

    def seen(
        self, image: Tensor, translation: Tensor | None, modality: Modality
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Averaged rows (B, h, C) of what each kind of head looks at, the maps to the power p."""
        real, translated = self.maps(image, translation, modality)
        if self.power == 1:  # the mean's rows are the mean of the rows, which are fewer
            real, translated = rows(real), rows(translated)
            return fuse(real, translated), real, translated
        fused, real, translated = (
            rows(upcast_bf16(x).clamp_min(LEAST).pow(self.power))
            for x in (fuse(real, translated), real, translated)
        )
        return fused, real, translated

    def pool(self, seen: Tensor, count: int) -> Tensor:
        """Each of `count` stripes pooled, of averaged rows: (B, h, C) -> (count, B, C)."""
        pieces = stripes(seen, count)
        return pieces if self.power == 1 else pieces.pow(1 / self.power)

    def forward(
        self,
        visible: Tensor,
        visible_translated: Tensor | None,
        infrared: Tensor,
        infrared_translated: Tensor | None,
    ) -> NetworkOutputs:
        """Outputs of all heads for a training batch of both modalities."""
        fused, real, translated = map(
            torch.cat,
            zip(
                self.seen(visible, visible_translated, "visible"),
                self.seen(infrared, infrared_translated, "infrared"),
                strict=True,
            ),
        )
        return NetworkOutputs(
            self._outputs(self.fused_heads, fused),
            self._outputs(self.real_heads, real),
            self._outputs(self.translated_heads, translated),
        )

    def embed(self, image: Tensor, translation: Tensor | None, modality: Modality) -> Tensor:
        """Descriptors (B, 6 E) for retrieval: L2-normalised PwIF embeddings side by side."""
        fused, _, _ = self.seen(image, translation, modality)
        heads = cast(Iterable[Head], self.fused_heads)
        pieces = self.pool(fused, FUSED_STRIPES)
        embeddings = [head.embed(x) for head, x in zip(heads, pieces, strict=True)]
        return torch.cat([F.normalize(upcast_bf16(e)) for e in embeddings], dim=1)

    def _outputs(self, heads: nn.ModuleList, seen: Tensor) -> HeadOutputs:
        """The heads' outputs for averaged rows (B, h, C)."""
        if not heads:
            return HeadOutputs((), ())
        pieces = self.pool(seen, len(heads))
        pairs = [head(stripe) for head, stripe in zip(heads, pieces, strict=True)]
        return HeadOutputs(*zip(*pairs, strict=True))
