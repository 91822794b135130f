"""What becomes of a training run whose workers failed.

Ray Train's controller imports this file, and so little else: it is a process of its own.
"""

from __future__ import annotations

from typing import Any

import ray.train
from ray.actor import ActorHandle

from tsme.errors import JobFailed, UserError


class Failures(ray.train.UserCallback):
    """Tells of lost workers, and ends a run where another attempt mends nothing: bad data, a bad loss."""

    def __init__(self, name: str, board: ActorHandle) -> None:
        self.name, self.board = name, board

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Raise what a worker raised, if it is ours; Ray Train then makes no further attempt."""
        for error in worker_exceptions.values():
            cause = _original(error)
            if isinstance(cause, (UserError, JobFailed)):
                raise cause
        kinds = ", ".join(sorted({type(error).__name__ for error in worker_exceptions.values()}))
        self.board.post.remote(f"a worker of {self.name} failed ({kinds}): again from its last epoch")


def _original(error: Exception) -> Exception:
    """The exception that a worker's failure wraps."""
    return getattr(error, "cause", None) or error
