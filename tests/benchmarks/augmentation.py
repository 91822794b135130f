"""Random crops and flips of 24 images and their translations, up to the tensors a network takes."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks import ours
from tests.benchmarks.measure import Benchmark, Goal, Work, broadcast
from tests.benchmarks.reference.images import augment
from tests.benchmarks.setting import Setting
from tsme.data.transforms import Augmentation
from tsme.seeding import generator

PAIRS = 24
TOLERANCE = 1e-6


def prepare(setting: Setting) -> Work:
    """The reference has its pictures as arrays (H, W, 3), we have ours as one tensor."""
    padding = setting.config().image.padding
    sources = [setting.images(PAIRS, seed) for seed in range(2)]
    pictures = [list(np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy())) for x in sources]
    stream, draws = generator(0, "augmentation"), random.Random(0)

    def reference() -> list[Tensor]:
        span = 2 * padding
        drawn = [
            (draws.randint(0, span), draws.randint(0, span), draws.random() < 0.5) for _ in range(PAIRS)
        ]
        return [augment(x, padding, drawn) for x in pictures]

    def mine() -> list[Tensor]:
        return ours.augment(sources, Augmentation.draw(PAIRS, padding, stream))

    def check() -> str:
        drawn = Augmentation.draw(PAIRS, padding, stream)
        columns = (drawn.top.tolist(), drawn.left.tolist(), drawn.mirror.tolist())
        plain = [augment(x, padding, list(zip(*columns, strict=True))) for x in pictures]
        broadcast("pixels", torch.stack(ours.augment(sources, drawn)), torch.stack(plain), TOLERANCE)
        return f"pixels of the same crops and flips within {TOLERANCE:g}"

    return Work(reference, mine, check)


BENCHMARKS = [Benchmark("augmentation/24-pairs", prepare, Goal(2))]
