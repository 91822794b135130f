"""Failures of training workers: which of them end the run.

Ray Train's controller, a process of its own, imports this module. Keep its imports few.
"""

from __future__ import annotations

from typing import Any

import ray.train
from ray.actor import ActorHandle

from tsme.errors import JobFailed, UserError


class FailureCallback(ray.train.UserCallback):
    """Do not retry UserError and JobFailed; report other worker failures, which Ray Train retries."""

    def __init__(self, name: str, board: ActorHandle) -> None:
        self.name, self.board = name, board

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Called by Ray Train. Raising ends the run without another attempt."""
        for error in worker_exceptions.values():
            cause = getattr(error, "cause", None) or error
            if isinstance(cause, (UserError, JobFailed)):
                raise cause
        kinds = ", ".join(sorted({type(error).__name__ for error in worker_exceptions.values()}))
        self.board.post.remote(f"a worker of {self.name} failed ({kinds}): resuming from its checkpoint")
