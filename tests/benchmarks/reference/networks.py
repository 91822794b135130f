"""The method's networks as published (Liu et al., TCSVT 2022), from torchvision's residual blocks.

Shapes: B images of one modality, C channels of layer4, E embedding, K identities. Images are float
(B, 3, H, W) in [-1, 1]; maps are at stride 16.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from tsme.config import BackboneConfig, DsganConfig, ReidConfig
from tsme.data.types import MODALITIES, Modality

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KINDS = {"fused": 6, "real": 2, "translated": 2}  # heads, that is stripes, of each kind
DEPTHS = {
    "resnet10": (1, 1, 1, 1),
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
}
Outputs = dict[str, tuple[list[Tensor], list[Tensor]]]  # by kind: embeddings and logits of its heads


class ImageNetRange(nn.Module):
    """Images in [-1, 1] to zero mean and unit deviation over ImageNet."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> the same shape."""
        return ((images + 1) / 2 - self.mean) / self.std


def _stage(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, planes: int, depth: int, stride: int
) -> nn.Sequential:
    outputs = planes * block.expansion
    shortcut = None
    if stride > 1 or inputs != outputs:
        projection = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))
    rest = [block(outputs, planes) for _ in range(1, depth)]
    return nn.Sequential(block(inputs, planes, stride, shortcut), *rest)


class PlainTrunk(nn.Module):
    """A ResNet without its classifier and with stride 1 in layer4."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        block = Bottleneck if config.architecture == "resnet50" else BasicBlock
        depths = DEPTHS[config.architecture]
        self.conv1 = nn.Conv2d(3, config.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.widths = [config.width]
        for index, stride in enumerate((1, 2, 2, 1)):
            planes = config.width * 2**index
            stage = _stage(block, self.widths[-1], planes, depths[index], stride)
            self.add_module(f"layer{index + 1}", stage)
            self.widths.append(planes * block.expansion)

    def forward(self, x: Tensor, gated: bool) -> list[Tensor]:
        """The maps of the stem and of the four layers; those of layer3 and layer4 gated if asked for."""
        maps = [self.relu(self.bn1(self.conv1(x)))]
        x = self.maxpool(maps[0])
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
            if gated and index > 2:
                x = torch.sigmoid(F.adaptive_avg_pool2d(x, 1) + F.adaptive_max_pool2d(x, 1)) * x
            maps.append(x)
        return maps


class PlainStream(nn.Module):
    """One of the four streams: (B, 3, H, W) -> (B, C, H/16, W/16)."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.normalise = ImageNetRange()
        self.backbone = PlainTrunk(config)

    def forward(self, images: Tensor) -> Tensor:
        """The gated map of layer4."""
        return self.backbone(self.normalise(images), gated=True)[-1]


class PlainHead(nn.Module):
    """Embedding and classifier of one stripe."""

    def __init__(self, inputs: int, config: ReidConfig, identities: int) -> None:
        super().__init__()
        size = config.embedding
        self.embed = nn.Sequential(nn.Linear(inputs, size), nn.BatchNorm1d(size))
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(size, identities)

    def forward(self, stripe: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C) -> embedding (B, E) and logits (B, K)."""
        embedding = self.embed(stripe)
        return embedding, self.classify(self.dropout(F.leaky_relu(embedding, 0.1)))


class PlainReid(nn.Module):
    """Four streams and ten heads."""

    def __init__(self, config: ReidConfig, identities: int) -> None:
        super().__init__()
        self.streams = nn.ModuleDict(
            {m: nn.ModuleList(PlainStream(config.backbone) for _ in range(2)) for m in MODALITIES}
        )
        channels = PlainTrunk(config.backbone).widths[-1]
        for kind, count in KINDS.items():
            heads = [PlainHead(channels, config, identities) for _ in range(count)]
            self.add_module(f"{kind}_heads", nn.ModuleList(heads))

    def maps(self, images: Tensor, translations: Tensor, modality: Modality) -> list[Tensor]:
        """Maps (B, C, h, w) of images and of their translations."""
        real, translated = self.streams[modality].children()
        return [real(images), translated(translations)]

    def forward(
        self, visible: Tensor, visible_translated: Tensor, infrared: Tensor, infrared_translated: Tensor
    ) -> Outputs:
        """Outputs of all heads, those of visible images first."""
        real, translated = (
            torch.cat(pair)
            for pair in zip(
                self.maps(visible, visible_translated, "visible"),
                self.maps(infrared, infrared_translated, "infrared"),
                strict=True,
            )
        )
        outputs: Outputs = {}
        for kind, x in (("fused", (real + translated) / 2), ("real", real), ("translated", translated)):
            pooled = F.adaptive_avg_pool2d(x, (KINDS[kind], 1))
            embeddings, logits = [], []
            for index, head in enumerate(self.get_submodule(f"{kind}_heads").children()):
                embedding, scores = head(pooled[:, :, index, 0])
                embeddings.append(embedding)
                logits.append(scores)
            outputs[kind] = embeddings, logits
        return outputs

    def embed(self, images: Tensor, translations: Tensor, modality: Modality) -> Tensor:
        """Embeddings (B, 6 E): a normalised embedding of every stripe of the fused map."""
        real, translated = self.maps(images, translations, modality)
        pooled = F.adaptive_avg_pool2d((real + translated) / 2, (KINDS["fused"], 1))
        pieces = []
        for index, head in enumerate(self.get_submodule("fused_heads").children()):
            pieces.append(F.normalize(head(pooled[:, :, index, 0])[0]))
        return torch.cat(pieces, dim=1)


def _upsample(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.ReLU(inplace=True))


class PlainGenerator(nn.Module):
    """DSGAN's generator: a ResNet encoder, and a decoder that adds its maps back."""

    def __init__(self, config: DsganConfig) -> None:
        super().__init__()
        self.normalise = ImageNetRange()
        self.encoder = PlainTrunk(config.backbone)
        stem, one, two, three, four = self.encoder.widths
        last = one // 2
        for name, inputs, outputs in (
            ("4", four, three),
            ("3", three, two),
            ("2", two, one),
            ("1", one, last),
        ):
            keep = _stage(Bottleneck, inputs, inputs // Bottleneck.expansion, 1, 1)
            reduce = _stage(Bottleneck, inputs, outputs // Bottleneck.expansion, 1, 1)
            self.add_module(f"decode{name}", nn.Sequential(*keep, *reduce))
        self.up3, self.up2, self.up1 = _upsample(two, two), _upsample(one, one), _upsample(last, stem)
        self.to_image = nn.ConvTranspose2d(stem, 3, 4, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images of one modality -> the same shape and range in the other."""
        *skips, x = self.encoder(self.normalise(images), gated=False)
        for step in (4, 3, 2, 1):
            x = self.get_submodule(f"decode{step}")(x)
            if step < 4:
                x = self.get_submodule(f"up{step}")(x)
            x = x + skips[step - 1]
        return torch.tanh(self.to_image(x))


class PlainTranslators(nn.Module):
    """Both generators."""

    def __init__(self, config: DsganConfig) -> None:
        super().__init__()
        self.visible_to_infrared = PlainGenerator(config)
        self.infrared_to_visible = PlainGenerator(config)


class PlainDiscriminators(nn.Module):
    """A patch discriminator for either modality."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.visible = _discriminator(width)
        self.infrared = _discriminator(width)


def _discriminator(width: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    for inputs, outputs in ((width, width), (width, 2 * width), (2 * width, 4 * width)):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.InstanceNorm2d(outputs)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(4 * width, 1, 4, padding=2))
