"""CycleGAN's pool of earlier translations (Shrivastava et al., CVPR 2017).

Discriminators are trained on a mixture of new and earlier translations.
"""

from __future__ import annotations

import torch
from torch import Tensor


class ImagePool:
    """Keeps up to `size` generated images; once full, about half of those returned are older ones."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def exchange(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """For each image (B, 3, H, W) return it, or an older one, which it then replaces in the pool."""
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
