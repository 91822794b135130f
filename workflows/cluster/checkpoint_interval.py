"""How often to write checkpoints: after every epoch, unless that takes more than a tenth of the time."""

from __future__ import annotations

import time

SHARE = 0.1  # of the time
SMALL = 64 * 2**20  # bytes; below, a lost epoch is worth more than the time
LOOK = 1.0  # seconds that Ray may take to notice what is ready, however small it is


class CheckpointInterval:
    """Says when the next checkpoint is due: the first at once, and of small ones every one.

    An epoch of RegDB takes a fast GPU a few seconds, and so does writing the published network and its
    momenta. The next one is then due when ten times as long has passed.
    """

    def __init__(self) -> None:
        self.next = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether to write one now."""
        return time.monotonic() >= self.next

    def wrote(self, size: int, writing: float, waiting: float) -> None:
        """One has been written: its bytes, and seconds of that and of waiting for storage."""
        cost = writing + max(0.0, waiting - LOOK) if size >= SMALL else 0.0
        self.next = time.monotonic() + cost * (1 / SHARE - 1)
