"""DSGAN's networks: a generator with deep skip connections and a patch discriminator.

Liu et al., TCSVT 2022, section III-A; the discriminator is PatchGAN (Isola et al., CVPR 2017).
Images are (B, 3, H, W) in [-1, 1], H and W multiples of 16.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from tsme.config import DsganConfig
from tsme.models.backbone import Bottleneck, Normalise, build_backbone, residual_stage
from tsme.models.sharing import share_modules
from tsme.outputs import Scores, Translations

BRIGHTEST = 1 - 1 / 255  # atanh(1) is infinite, so a residual generator clamps its input to this


class Upsample(nn.Sequential):
    """(B, C, h, w) -> (B, D, 2h, 2w) by transposed convolution and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU(inplace=True)
        )


class Generator(nn.Module):
    """ResNet encoder, and a decoder that adds the encoder's map at each of four resolutions.

    A residual generator adds to its input, tanh(decoder + atanh(image)): it starts as the identity, and
    fine detail need not pass through the encoder (not in the paper).
    """

    def __init__(self, config: DsganConfig) -> None:
        super().__init__()
        self.skips = config.skips
        self.normalise = Normalise()
        self.encoder = build_backbone(config.backbone)
        stem, one, two, three, four = self.encoder.channels
        self.decode4 = _decoder_stage(four, three)
        self.decode3 = _decoder_stage(three, two)
        self.up3 = Upsample(two, two)
        self.decode2 = _decoder_stage(two, one)
        self.up2 = Upsample(one, one)
        self.decode1 = _decoder_stage(one, one // 2)
        self.up1 = Upsample(one // 2, stem)
        self.to_image = nn.ConvTranspose2d(stem, 3, 4, stride=2, padding=1)
        self.residual = config.residual
        if config.residual:  # so that it starts as the identity
            nn.init.zeros_(self.to_image.weight)
            nn.init.zeros_(cast(Tensor, self.to_image.bias))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) of one modality -> the same shape and range in the other."""
        stem, one, two, three, four = self.encoder(self.normalise(image))
        x = self._add(self.decode4(four), three)  # stride 16
        x = self._add(self.up3(self.decode3(x)), two)  # stride 8
        x = self._add(self.up2(self.decode2(x)), one)  # stride 4
        x = self._add(self.up1(self.decode1(x)), stem)  # stride 2
        x = self.to_image(x)
        if self.residual:
            x = x + image.clamp(-BRIGHTEST, BRIGHTEST).atanh()
        return x.tanh()

    def _add(self, decoded: Tensor, encoded: Tensor) -> Tensor:
        """A skip: the encoder's map of the same resolution, added."""
        return decoded + encoded if self.skips else decoded


def _decoder_stage(inputs: int, outputs: int) -> nn.Sequential:
    """A bottleneck that keeps the width, then one that reduces it."""
    keep = residual_stage(Bottleneck, inputs, inputs // Bottleneck.expansion, depth=1, stride=1)
    reduce = residual_stage(Bottleneck, inputs, outputs // Bottleneck.expansion, depth=1, stride=1)
    return nn.Sequential(*keep, *reduce)


class Discriminator(nn.Sequential):
    """Four stride-2 convolutions and one to a map of patch scores: (B, 3, H, W) -> (B, 1, h, w)."""

    def __init__(self, width: int) -> None:
        widths = [width, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(zip([3, *widths], widths, strict=False)):
            layers.append(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1))
            if index > 0:
                layers.append(nn.InstanceNorm2d(outputs))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        layers.append(nn.Conv2d(widths[-1], 1, 4, padding=2))
        super().__init__(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.02)


class Generators(nn.Module):
    """Both generators: grayscale visible to infrared, and back."""

    def __init__(self, config: DsganConfig) -> None:
        super().__init__()
        self.visible_to_infrared = Generator(config)
        self.infrared_to_visible = Generator(config)
        self.identity = config.loss.identity > 0
        if config.share:
            kinds = (nn.Conv2d, nn.ConvTranspose2d)
            share_modules(self.visible_to_infrared, self.infrared_to_visible, kinds)

    def forward(self, visible: Tensor, infrared: Tensor) -> Translations:
        """All translations of a training step, in one call so that DDP sees one forward.

        Six, or four (a third less work) if the identity loss has weight 0.
        """
        fake_infrared, fake_visible = (
            self.visible_to_infrared(visible),
            self.infrared_to_visible(infrared),
        )
        return Translations(
            fake_infrared,
            fake_visible,
            self.infrared_to_visible(fake_infrared),
            self.visible_to_infrared(fake_visible),
            self.visible_to_infrared(infrared) if self.identity else None,
            self.infrared_to_visible(visible) if self.identity else None,
        )


class Discriminators(nn.Module):
    """One discriminator for grayscale visible images, one for infrared ones."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.visible = Discriminator(width)
        self.infrared = Discriminator(width)

    def forward(
        self, visible: Tensor, fake_visible: Tensor, infrared: Tensor, fake_infrared: Tensor
    ) -> Scores:
        """Scores of real and generated images, in one call so that DDP sees one forward."""
        return Scores(
            self.visible(visible),
            self.visible(fake_visible),
            self.infrared(infrared),
            self.infrared(fake_infrared),
        )
