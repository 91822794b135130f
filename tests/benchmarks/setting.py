"""At which size the work is done, and the made-up images and people it is done on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from tsme.config import Config
from tsme.data.types import MODALITIES, ImageList, Modality, Split
from tsme.presets import regdb
from tsme.settings import override

Size = Literal["paper", "small"]
SIZES: tuple[Size, ...] = ("paper", "small")
BLOCK = 8  # pixels
TINY_BACKBONE = {"architecture": "resnet10", "width": 8}
TINY: dict[str, Any] = {
    "image.height": 32,
    "image.width": 16,
    "image.padding": 2,
    "reid.embedding": 16,
    "dsgan.discriminator_width": 4,
    **{f"{stage}.backbone.{k}": v for stage in ("reid", "dsgan") for k, v in TINY_BACKBONE.items()},
}


@dataclass(frozen=True)
class Setting:
    """The published size, or one that shows in a second that everything runs; and where networks run."""

    size: Size
    device: torch.device

    def of(self, paper: int, small: int) -> int:
        """A count at this size."""
        return paper if self.size == "paper" else small

    def config(self) -> Config:
        """RegDB's preset with random weights, which take as long as trained ones."""
        untrained = {"reid.backbone.weights": "none", "dsgan.backbone.weights": "none"}
        return override(regdb(), untrained if self.size == "paper" else untrained | TINY)

    def images(self, count: int, seed: int) -> Tensor:
        """Coarse blocks of noise at the configuration's size: uint8 (count, 3, H, W).

        Coarse, because the averages that networks take of fine noise are almost the same for all
        images, and batch norm would blow up what rounding makes of them.
        """
        image = self.config().image
        shape = (count, 3, image.height // BLOCK, image.width // BLOCK)
        random = torch.Generator().manual_seed(seed)
        blocks = torch.randint(256, shape, generator=random, dtype=torch.uint8)
        return blocks.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)


def people_split(people: int, images: int) -> Split:
    """`people` with `images` visible and infrared images each, one person after another."""

    def listed(modality: Modality) -> ImageList:
        identities = np.repeat(np.arange(people), images)
        paths = tuple(f"{modality}/{place}.bmp" for place in range(len(identities)))
        return ImageList(modality, paths, identities, np.ones_like(identities))

    return Split(*map(listed, MODALITIES))


def unsettle(network: nn.Module) -> None:
    """Random batch-norm statistics and affine parameters, as training leaves them, not 0 and 1."""
    random = torch.Generator().manual_seed(7)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            for spread in (module.running_var, module.weight.data):
                assert spread is not None
                spread.copy_(torch.rand(spread.shape, generator=random) + 0.5)
            for centre in (module.running_mean, module.bias.data):
                assert centre is not None
                centre.copy_(torch.randn(centre.shape, generator=random) * 0.2)
