"""What a run is doing: its driver keeps status.json in the run's folder, and `tsme status` reads it."""

from __future__ import annotations

import os
import platform
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter, ValidationError

from tsme.errors import UserError
from tsme.storage.atomic import read_json, write_json
from tsme.storage.object_store import AnyPath
from workflows.repeating import RepeatedCall

if TYPE_CHECKING:  # it imports Ray, and `tsme status` answers at once
    from workflows.progress import Event

STATUS = "status.json"
LOCAL_SECONDS, REMOTE_SECONDS = 2.0, 30.0  # between two writes, to a disk and to an object store


@dataclass
class TrainingStatus:
    """The latest epoch of one stage of a training; `seconds` is the duration of `timed` epochs."""

    label: str
    stage: str
    epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    timed: int = 0
    summary: str = ""


@dataclass
class StepStatus:
    """A step of the workflow: `done` of `total` parts, and the epochs that it trains, by stage.

    `slots` parts run side by side. Where a part may end early, its epochs are an upper limit.
    """

    name: str
    began: float
    total: int = 0
    done: int = 0
    slots: int = 1
    epochs: dict[str, int] = field(default_factory=dict)
    trainings: list[TrainingStatus] = field(default_factory=list)

    def seconds_left(self) -> float | None:
        """Seconds until all epochs are trained; None before an epoch of each stage has ended."""
        if not self.epochs:
            return None
        left = 0.0
        for stage, planned in self.epochs.items():
            known = [training for training in self.trainings if training.stage == stage]
            timed = sum(training.timed for training in known)
            remaining = max(0, planned - sum(training.epoch for training in known))
            if remaining and not timed:
                return None
            left += remaining * sum(training.seconds for training in known) / max(1, timed)
        return left / self.slots


@dataclass
class RunStatus:
    """A run: its command, the host and process of its driver, where that prints, and its present step.

    Times are seconds since 1970; `updated` is the latest sign of life.
    """

    command: str
    host: str
    pid: int
    log: str
    began: float
    updated: float
    state: Literal["running", "finished", "failed", "interrupted"] = "running"
    error: str = ""
    step: StepStatus | None = None


class StatusFile:
    """Keeps status.json up to date while its block runs. Its methods may be called from any thread.

    A file that cannot be written is skipped: the status must never end a run.
    """

    def __init__(self, folder: AnyPath, command: str, log: str) -> None:
        now = time.time()
        self.file = folder / STATUS
        self.status = RunStatus(command, platform.node(), os.getpid(), log, began=now, updated=now)
        interval = LOCAL_SECONDS if isinstance(folder, Path) else REMOTE_SECONDS
        self.lock = threading.Lock()
        self.writing = RepeatedCall(self._write, interval)

    def __enter__(self) -> StatusFile:
        self._write()
        self.writing.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.writing.stop()
        self.status.state = "finished"
        if error is not None:
            self.status.state = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self.status.error = str(error)
        self._write()

    def begin(self, name: str, total: int, slots: int, epochs: dict[str, int]) -> None:
        """A step begins; see `StepStatus`."""
        with self.lock:
            self.status.step = StepStatus(name, time.time(), total=total, slots=slots, epochs=epochs)

    def count(self, done: int) -> None:
        """So many parts of the step are done."""
        with self.lock:
            if self.status.step is not None:
                self.status.step.done = done

    def record(self, event: Event) -> None:
        """A training has ended an epoch."""
        with self.lock:
            step = self.status.step
            if step is None:
                return
            for training in step.trainings:
                if (training.label, training.stage) == (event.label, event.stage):
                    break
            else:
                step.trainings.append(training := TrainingStatus(event.label, event.stage))
            training.epoch, training.epochs, training.summary = event.epoch, event.epochs, event.summary
            training.seconds += event.seconds
            training.timed += 1
            if event.epoch >= event.epochs and [event.stage] == list(step.epochs)[-1:]:
                step.done += 1

    def _write(self) -> None:
        with self.lock:
            self.status.updated = time.time()
            content = asdict(self.status)
        with suppress(UserError):
            write_json(self.file, content)


def read_status(folder: AnyPath) -> RunStatus:
    """The status of the run in `folder`. Raises UserError if there is none, or if it is damaged."""
    file = folder / STATUS
    if not file.exists():
        raise UserError(f"{folder}: no run has written its status there")
    try:
        return TypeAdapter(RunStatus).validate_python(read_json(file))
    except ValidationError as error:
        raise UserError(f"{file}: not the status of a run of this version ({error})") from None
