"""How often to write checkpoints: after every epoch, unless that takes more than a tenth of the time."""

from __future__ import annotations

import time

MAX_TIME_FRACTION = 0.1
# Bytes. Smaller checkpoints are always written: losing an epoch costs more than writing them.
SMALL_CHECKPOINT = 64 * 2**20
# Seconds that Ray Train may take to notice that an upload is complete, however small the checkpoint.
POLL_SECONDS = 1.0


class CheckpointInterval:
    """Decides when the next checkpoint is due. The first one is due at once.

    On a fast GPU, an epoch of RegDB and a checkpoint of the published network with its momenta (850 MB)
    both take a few seconds. After a checkpoint that took t seconds, the next is due 9 t seconds later.
    """

    def __init__(self) -> None:
        self.next = time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() >= self.next

    def record(self, size: int, write_seconds: float, wait_seconds: float) -> None:
        """Record a checkpoint: its bytes, the time to write it and the wait for the previous upload."""
        cost = 0.0
        if size >= SMALL_CHECKPOINT:
            cost = write_seconds + max(0.0, wait_seconds - POLL_SECONDS)
        self.next = time.monotonic() + cost * (1 / MAX_TIME_FRACTION - 1)
