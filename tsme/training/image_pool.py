"""CycleGAN's pool of earlier translations (Shrivastava et al., CVPR 2017)."""

from __future__ import annotations

import torch
from torch import Tensor


class ImagePool:
    """Up to `size` generated images; half of those asked for come from the past once it is full."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def exchange(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """As many images as given (B, 3, H, W): new ones, or old ones whose place the new ones take."""
        chosen: list[Tensor] = []
        for image in images.detach():
            if len(self.images) < self.size:
                self.images.append(image.clone())
                chosen.append(image)
            elif self.size and torch.rand((), generator=generator) < 0.5:
                place = int(torch.randint(self.size, (), generator=generator))
                chosen.append(self.images[place])
                self.images[place] = image.clone()
            else:
                chosen.append(image)
        return torch.stack(chosen)
