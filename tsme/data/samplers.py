"""Batch samplers: whole identities for stage 2, unpaired images for stage 1.

Random draws depend only on the seed, the epoch and, within an identity, the worker. So an interrupted
epoch can be repeated, and all workers draw the same plan, of which each takes its own part.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tsme.errors import UserError
from tsme.seeding import derive

Pair = tuple[NDArray[np.int64], NDArray[np.int64]]


class IdentitySampler:
    """Batches of `identities` identities with `images` images of each in either modality.

    Yields (visible rows, infrared rows), each (identities * images,), with identities in the same order.
    In a step, each worker has other identities. An epoch has as many images as the larger modality.
    If an identity has fewer than `images` images, some are repeated.
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
        self.shared_identities = np.intersect1d(visible_labels, infrared_labels)
        needed = identities * world_size
        if len(self.shared_identities) < needed:
            lower = "resources.workers" if identities == 2 else "reid.identities or resources.workers"
            raise UserError(
                f"{len(self.shared_identities)} training identities, but a step takes {needed} "
                f"({identities} on each of {world_size} workers): lower {lower}"
            )
        self.rows = [
            {int(i): np.flatnonzero(labels == i) for i in self.shared_identities}
            for labels in (visible_labels, infrared_labels)
        ]
        self.identities, self.images, self.seed = identities, images, seed
        self.rank, self.world_size = rank, world_size
        largest = max(len(visible_labels), len(infrared_labels))
        self.steps = -(-largest // (needed * images))

    def __len__(self) -> int:
        return self.steps

    def epoch(self, number: int) -> Iterator[Pair]:
        """The batches of this worker in one epoch."""
        plan = np.random.default_rng(derive(self.seed, "identities", number))
        images = np.random.default_rng(derive(self.seed, "images", number, self.rank))
        groups: list[NDArray[np.int64]] = []
        for _ in range(self.steps):
            if not groups:  # a new pass over the identities, short of a last incomplete group
                order = plan.permutation(self.shared_identities)
                count = len(order) // (self.identities * self.world_size)
                groups = np.split(order[: count * self.identities * self.world_size], count)
            group = groups.pop(0).reshape(self.world_size, self.identities)[self.rank]
            visible, infrared = (
                np.concatenate([self._draw(rows[int(i)], images) for i in group]) for rows in self.rows
            )
            yield visible, infrared

    def _draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """`images` rows of one identity; none is repeated before all have been used."""
        rounds = -(-self.images // len(rows))
        return np.concatenate([rng.permutation(rows) for _ in range(rounds)])[: self.images]


def unpaired_epoch(
    visible: int, infrared: int, *, batch: int, seed: int, epoch: int, rank: int, world_size: int
) -> Iterator[Pair]:
    """Yield the (visible rows, infrared rows) of this worker, each (batch,), for one epoch of stage 1.

    `visible` and `infrared` are numbers of images. The modalities are shuffled independently. An epoch
    is one pass over the larger one, short of a last incomplete batch; the smaller one is repeated.
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
