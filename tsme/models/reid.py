"""The four-stream network with PwIF and IAI (Liu et al., TCSVT 2022, section III-B and III-C).

Shapes: B images of one modality, C channels of layer4, E embedding, K identities, P stripes.
Images are (B, 3, H, W) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsme.config import ReidConfig
from tsme.data.images import grayscale
from tsme.data.types import MODALITIES, Modality
from tsme.models.backbone import Backbone, build_backbone
from tsme.models.streams import Stream, run_streams, share_layers
from tsme.numerics import upcast_bf16
from tsme.outputs import HeadOutputs, NetworkOutputs

SINGLE_STRIPES = 2
MIN_ACTIVATION = 1e-6  # the gradient of a root is infinite at 0
ImagePair = tuple[Tensor, Tensor | None]  # images (B, 3, H, W) and their translations


class Head(nn.Module):
    """Embedding and classifier of one stripe: (B, C) -> (B, E), (B, K).

    The embedding is taken after the linear layer and the batch norm, before the activation.
    """

    def __init__(self, inputs: int, embedding: int, identities: int, dropout: float) -> None:
        super().__init__()
        project = nn.Linear(inputs, embedding)
        nn.init.kaiming_normal_(project.weight, mode="fan_out")
        nn.init.zeros_(project.bias)
        self.embed = nn.Sequential(project, nn.BatchNorm1d(embedding))
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(embedding, identities)
        nn.init.normal_(self.classify.weight, std=0.001)
        nn.init.zeros_(self.classify.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding and its identity logits."""
        embedding = self.embed(x)
        return embedding, self.classify(self.dropout(F.leaky_relu(embedding, 0.1)))


def rows(x: Tensor) -> Tensor:
    """Average of each row of maps: (B, C, h, w) -> (B, h, C), in float32 at least."""
    wide = torch.float32 if x.dtype == torch.bfloat16 else x.dtype
    return x.permute(0, 2, 3, 1).mean(2, dtype=wide)


def stripes(x: Tensor, count: int) -> Tensor:
    """Average of each of `count` horizontal stripes of averaged rows: (B, h, C) -> (count, B, C)."""
    return F.adaptive_avg_pool1d(x.mT, count).permute(2, 0, 1)


def fuse(real: Tensor, translated: Tensor) -> Tensor:
    """PwIF: the mean of an image's map and its translation's map.

    Takes maps, or row averages of maps: fusing and averaging can be exchanged.
    """
    return (real + translated) / 2


class TsmeNet(nn.Module):
    """Four streams and ten heads, each head shared by both modalities.

    Without translations there are only the two streams of real images, without IAI only the six fused
    heads. As published, the streams share no weights; with `config.share` they share convolutions.
    Pooling is (mean of x^p)^(1/p) (GeM; Radenovic et al., TPAMI 2019); p = 1, as published, is the mean.
    """

    def __init__(self, config: ReidConfig, identities: int) -> None:
        super().__init__()
        self.power, self.stripes = config.pooling_power, config.stripes
        # Its power must not underflow in float32.
        self.min_activation = max(MIN_ACTIVATION, 10 ** (-36 / self.power))
        self.translation, self.grayscale_visible = config.translation, config.grayscale_visible
        # All streams start from the same weights, also if these are random: heads are shared by both
        # modalities, so features of both must be comparable at the start.
        first = build_backbone(config.backbone)

        def stream() -> Stream:
            backbone = Backbone(config.backbone.architecture, config.backbone.width)
            backbone.load_state_dict(first.state_dict())
            return Stream(backbone, gates=config.gates, last_layer=config.last_layer)

        per_modality = 1 if config.translation == "none" else 2
        streams = {m: [stream() for _ in range(per_modality)] for m in MODALITIES}
        self.streams = nn.ModuleDict({m: nn.ModuleList(streams[m]) for m in MODALITIES})
        all_streams = [stream for m in MODALITIES for stream in streams[m]]
        share_layers(all_streams, config.share, norms=config.shared_norms)
        channels = all_streams[0].backbone.channels[-1]

        def heads(count: int) -> nn.ModuleList:
            shape = (channels, config.embedding, identities, config.dropout)
            return nn.ModuleList(Head(*shape) for _ in range(count))

        self.fused_heads = heads(config.stripes)
        self.real_heads = heads(SINGLE_STRIPES * config.iai)
        self.translated_heads = heads(SINGLE_STRIPES * config.iai)

    def _inputs(self, image: Tensor, translation: Tensor | None, modality: Modality) -> list[Tensor]:
        """Inputs of the modality's streams: the image and, if the network uses one, its translation."""
        if self.translation == "none":
            inputs = [image]
        elif translation is not None:
            inputs = [image, translation]
        else:
            assert self.translation == "grayscale", "the network takes DSGAN's translations"
            inputs = [image, grayscale(image)]
        if self.grayscale_visible and modality == "visible":
            inputs[0] = grayscale(image)
        return inputs

    def maps(
        self, image: Tensor, translation: Tensor | None, modality: Modality
    ) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) of an image and of its translation, each from its own stream.

        Grayscale copies are made here if they are not given. In a network without translations both are
        the image's own map, which fusing leaves as it is.
        """
        return self._maps({modality: (image, translation)})[modality]

    def _maps(self, pairs: Mapping[Modality, ImagePair]) -> dict[Modality, tuple[Tensor, Tensor]]:
        """`maps` of one modality or both; layers that the streams share run once for all images."""
        streams: list[Stream] = []
        images: list[Tensor] = []
        for modality, pair in pairs.items():
            streams += cast(Iterable[Stream], self.streams[modality])
            images += self._inputs(*pair, modality)
        maps = run_streams(streams, images)
        per_modality = len(streams) // len(pairs)
        # Without translations, the last of a modality's maps is its first.
        return {
            modality: (maps[start], maps[start + per_modality - 1])
            for modality, start in zip(pairs, range(0, len(maps), per_modality), strict=True)
        }

    def head_inputs(
        self, image: Tensor, translation: Tensor | None, modality: Modality
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (B, h, C) of fused, real and translated heads: row averages of maps to the power p."""
        return self._head_inputs(*self.maps(image, translation, modality))

    def _head_inputs(self, real: Tensor, translated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.power == 1:  # averaging the rows first leaves less to fuse
            real, translated = rows(real), rows(translated)
            return fuse(real, translated), real, translated
        fused, real, translated = (
            rows(upcast_bf16(x).clamp_min(self.min_activation).pow(self.power))
            for x in (fuse(real, translated), real, translated)
        )
        return fused, real, translated

    def pool(self, row_averages: Tensor, count: int) -> Tensor:
        """Pool averaged rows into `count` stripes: (B, h, C) -> (count, B, C)."""
        pieces = stripes(row_averages, count)
        return pieces if self.power == 1 else pieces.pow(1 / self.power)

    def forward(
        self,
        visible: Tensor,
        visible_translated: Tensor | None,
        infrared: Tensor,
        infrared_translated: Tensor | None,
    ) -> NetworkOutputs:
        """Outputs of all heads for a training batch of both modalities."""
        maps = self._maps(
            {"visible": (visible, visible_translated), "infrared": (infrared, infrared_translated)}
        )
        inputs = (self._head_inputs(*maps[modality]) for modality in MODALITIES)
        fused, real, translated = map(torch.cat, zip(*inputs, strict=True))
        return NetworkOutputs(
            self._outputs(self.fused_heads, fused),
            self._outputs(self.real_heads, real),
            self._outputs(self.translated_heads, translated),
        )

    def embed(self, image: Tensor, translation: Tensor | None, modality: Modality) -> Tensor:
        """Embeddings (B, P E) for retrieval: PwIF's of the P stripes, each of length 1, side by side."""
        fused, _, _ = self.head_inputs(image, translation, modality)
        heads = cast(Iterable[Head], self.fused_heads)
        pieces = self.pool(fused, self.stripes)
        embeddings = [head.embed(x) for head, x in zip(heads, pieces, strict=True)]
        return torch.cat([F.normalize(upcast_bf16(e)) for e in embeddings], dim=1)

    def _outputs(self, heads: nn.ModuleList, row_averages: Tensor) -> HeadOutputs:
        """The heads' outputs for averaged rows (B, h, C)."""
        if not heads:
            return HeadOutputs((), ())
        pieces = self.pool(row_averages, len(heads))
        pairs = [head(stripe) for head, stripe in zip(heads, pieces, strict=True)]
        return HeadOutputs(*zip(*pairs, strict=True))
