"""Call a function again and again in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable


class RepeatedCall:
    """Calls `function` every `seconds` in a thread of its own, from `start` to `stop`."""

    def __init__(self, function: Callable[[], None], seconds: float) -> None:
        self.function, self.seconds = function, seconds
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._repeat, daemon=True)

    def start(self) -> None:
        """Begin; the first call follows after `seconds`."""
        self.thread.start()

    def stop(self) -> None:
        """Wait for a call in progress; none follows."""
        self.stopping.set()
        self.thread.join()

    def _repeat(self) -> None:
        while not self.stopping.wait(self.seconds):
            self.function()
