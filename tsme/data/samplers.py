"""Which images make a batch: whole identities for stage 2, unpaired images for stage 1.

Every draw is a function of (seed, epoch, step), so an epoch can be repeated after an interruption, and
all workers draw the same plan and take their own part of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tsme.errors import UserError
from tsme.seeding import derive

Pair = tuple[NDArray[np.int64], NDArray[np.int64]]


class IdentitySampler:
    """Batches of `identities` people with `images` images each in either modality.

    Yields (visible rows, infrared rows), each (identities * images,), people in the same order in
    both. The workers of one step hold different people. An epoch shows as many images as the larger
    modality has. A person with fewer than `images` images has some of them repeated.
    """

    def __init__(
        self,
        visible_labels: NDArray[np.int64],
        infrared_labels: NDArray[np.int64],
        *,
        identities: int,
        images: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.people = np.intersect1d(visible_labels, infrared_labels)
        needed = identities * world_size
        if len(self.people) < needed:
            lower = "resources.workers" if identities == 2 else "reid.identities or resources.workers"
            raise UserError(
                f"{len(self.people)} training identities, but a step takes {needed} "
                f"({identities} on each of {world_size} workers): lower {lower}"
            )
        self.rows = [
            {int(p): np.flatnonzero(labels == p) for p in self.people}
            for labels in (visible_labels, infrared_labels)
        ]
        self.identities, self.images, self.seed = identities, images, seed
        self.rank, self.world_size = rank, world_size
        largest = max(len(visible_labels), len(infrared_labels))
        self.steps = -(-largest // (needed * images))

    def __len__(self) -> int:
        return self.steps

    def epoch(self, number: int) -> Iterator[Pair]:
        """This worker's batches of one epoch."""
        plan = np.random.default_rng(derive(self.seed, "identities", number))
        images = np.random.default_rng(derive(self.seed, "images", number, self.rank))
        waiting: list[NDArray[np.int64]] = []
        for _ in range(self.steps):
            if not waiting:  # a fresh pass over the people; those left over rest until the next
                order = plan.permutation(self.people)
                groups = len(order) // (self.identities * self.world_size)
                waiting = np.split(order[: groups * self.identities * self.world_size], groups)
            group = waiting.pop(0).reshape(self.world_size, self.identities)[self.rank]
            visible, infrared = (
                np.concatenate([self._draw(rows[int(p)], images) for p in group]) for rows in self.rows
            )
            yield visible, infrared

    def _draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """`images` of one person's rows, each used once before any is used twice."""
        rounds = -(-self.images // len(rows))
        return np.concatenate([rng.permutation(rows) for _ in range(rounds)])[: self.images]


def unpaired_epoch(
    visible: int, infrared: int, *, batch: int, seed: int, epoch: int, rank: int, world_size: int
) -> Iterator[Pair]:
    """This worker's (visible rows, infrared rows), each (batch,), for one epoch of stage 1.

    `visible` and `infrared` are numbers of images. Each modality is shuffled on its own; the smaller
    one starts again until the larger one has been seen, short of a last incomplete batch.
    """
    steps = max(1, max(visible, infrared) // (batch * world_size))
    needed = steps * batch * world_size
    orders = []
    for name, count in (("visible", visible), ("infrared", infrared)):
        rng = np.random.default_rng(derive(seed, "unpaired", name, epoch))
        rounds = [rng.permutation(count) for _ in range(-(-needed // count))]
        orders.append(np.concatenate(rounds)[:needed].reshape(steps, world_size, batch))
    for step in range(steps):
        yield orders[0][step, rank], orders[1][step, rank]
