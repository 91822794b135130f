"""Progress of many processes on one console: bars on a terminal, lines in a log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console

from tsme.config import ResourcesConfig
from workflows.bars import progress_bars
from workflows.cluster.resources import lacking
from workflows.repeating import RepeatedCall

POLL_SECONDS = 1.0
LOG_SECONDS = 60.0  # of training between two lines about the same stage in a log


class Event(NamedTuple):
    """A finished epoch: `label` names the training, `seconds` is how long the epoch took."""

    label: str
    stage: str
    epoch: int
    epochs: int
    summary: str
    seconds: float


class Board:
    """A Ray actor that collects the events of all workers until the driver takes them."""

    def __init__(self) -> None:
        self.events: list[Event | str] = []

    def post(self, event: Event | str) -> None:
        """Add an event, or a line to print as it is."""
        self.events.append(event)

    def take(self) -> list[Event | str]:
        """Return and forget the events collected since the last call."""
        events, self.events = self.events, []
        return events


class Display:
    """Prints a board's events while its block runs; workers post to `display.board`.

    A finished stage is a line. An unfinished one is a bar on a terminal; in a log, a line for every
    minute of training. With `resources`, the display also reports when the cluster no longer has room
    for a training run of that size. `record` is called with every event. With `epochs`, how many all
    trainings have together by stage, a bar on a terminal shows how long they will take.
    """

    def __init__(
        self,
        console: Console,
        resources: ResourcesConfig | None = None,
        record: Callable[[Event], None] | None = None,
        epochs: Mapping[str, int] | None = None,
    ) -> None:
        self.console, self.resources, self.record = console, resources, record
        self.missing: str | None = None
        # On the driver's node, so that the loss of another node does not end the board.
        driver_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.board = ray.remote(Board).options(num_cpus=0, scheduling_strategy=driver_node).remote()
        self.bars = progress_bars(console)
        total = sum((epochs or {}).values())
        self.all = self.bars.add_task("epochs", total=total, summary="", visible=total > 0)
        self.latest: dict[tuple[str, str], int] = {}  # epoch of each training and stage
        self.tasks: dict[tuple[str, str], Any] = {}
        self.unlogged: dict[tuple[str, str], float] = {}  # seconds of training since the last line
        self.polling = RepeatedCall(self._show, POLL_SECONDS)

    def __enter__(self) -> Display:
        self.bars.start()
        self.polling.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.polling.stop()
        self._show()
        self.bars.stop()

    def _show(self) -> None:
        try:
            missing = lacking(self.resources) if self.resources else None
            events: list[Event | str] = ray.get(self.board.take.remote(), timeout=5)
        except Exception:  # progress must never end a run: the cluster may be shutting down
            return
        for event in events:
            if isinstance(event, str):
                self._print(event)
            else:
                self._show_epoch(event)
        if missing != self.missing:
            self._print(f"waiting for nodes: {missing}" if missing else "all nodes are back")
            self.missing = missing

    def _show_epoch(self, event: Event) -> None:
        if self.record is not None:
            self.record(event)
        key = (event.label, event.stage)
        name = f"{event.label} {event.stage}"
        if key not in self.tasks:
            self.tasks[key] = self.bars.add_task(name, total=event.epochs, summary="")
        self.bars.update(self.tasks[key], completed=event.epoch, summary=event.summary)
        self.latest[key] = event.epoch
        self.bars.update(self.all, completed=sum(self.latest.values()))
        self.unlogged[key] = self.unlogged.get(key, 0.0) + event.seconds
        finished = event.epoch >= event.epochs
        if finished:
            self.bars.update(self.tasks[key], visible=False)
        if finished or (not self.console.is_terminal and self.unlogged[key] >= LOG_SECONDS):
            self.unlogged[key] = 0.0
            self._print(f"{name}: epoch {event.epoch}/{event.epochs}, {event.summary}")

    def _print(self, line: str) -> None:
        self.console.print(f"  {line}", soft_wrap=True)
