"""What happens in many processes, told in one place: live bars on a terminal, lines in a log."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tsme.config import ResourcesConfig
from workflows.cluster.resources import lacking
from workflows.spells import Spell

LOOK = 1.0  # seconds between looks at what there is to show
TELL = 60.0  # seconds after which a log is told again how far a stage is


class Event(NamedTuple):
    """An epoch finished: of what (trial or sample), which stage, a few words.

    `worked` are the seconds of work behind it, which ended at the time `ended` (of time.time()).
    """

    label: str
    stage: str
    epoch: int
    epochs: int
    words: str
    worked: float
    ended: float


class Board:
    """A Ray actor that collects the events of all workers until the driver takes them."""

    def __init__(self) -> None:
        self.events: list[Event | str] = []

    def post(self, event: Event | str) -> None:
        """Add an event, or a line to show as it is."""
        self.events.append(event)

    def take(self) -> list[Event | str]:
        """All events since the last call."""
        events, self.events = self.events, []
        return events


class Display:
    """Shows a board's events while its block runs; `display.board` is what workers post to.

    A finished stage is a line. What is not finished is a bar; where there is no terminal, a line a
    minute at most.

    With `resources` it also tells when the cluster has become too small for a training run of them.
    """

    def __init__(self, console: Console, resources: ResourcesConfig | None = None) -> None:
        self.console, self.resources = console, resources
        self.missing: str | None = None
        self.spells: list[Spell] = []  # of work
        # On the driver's node: on another it would be lost with that one, and all news after that.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.board = ray.remote(Board).options(num_cpus=0, scheduling_strategy=here).remote()
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.tasks: dict[tuple[str, str], Any] = {}
        self.told: dict[tuple[str, str], float] = {}  # when, of stages that are not finished
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Display:
        self.bars.start()
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self.thread.join()
        self._show()
        self.bars.stop()

    def _watch(self) -> None:
        while not self.stopping.wait(LOOK):
            self._show()

    def _show(self) -> None:
        try:
            missing = lacking(self.resources) if self.resources else None
            events: list[Event | str] = ray.get(self.board.take.remote(), timeout=5)
        except Exception:  # progress must never end a run: the cluster may be going down
            return
        for event in events:
            if isinstance(event, str):
                self._say(event)
                continue
            self.spells.append((event.ended - event.worked, event.ended))
            self._advance(event)
        if missing != self.missing:
            self._say(f"waiting for nodes: {missing}" if missing else "nodes are there again")
            self.missing = missing

    def _advance(self, event: Event) -> None:
        key = (event.label, event.stage)
        name = f"{event.label} {event.stage}"
        if key not in self.tasks:
            self.tasks[key] = self.bars.add_task(name, total=event.epochs, words="")
            self.told[key] = event.ended - event.worked
        self.bars.update(self.tasks[key], completed=event.epoch, words=event.words)
        finished = event.epoch >= event.epochs
        if finished:
            self.bars.update(self.tasks[key], visible=False)
        if finished or (not self.console.is_terminal and event.ended - self.told[key] >= TELL):
            self.told[key] = event.ended
            self.console.print(f"  {name}: epoch {event.epoch}/{event.epochs}, {event.words}")

    def _say(self, line: str) -> None:
        self.console.print(f"  {line}", soft_wrap=True)
