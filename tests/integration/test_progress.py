"""What a run prints while it works, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest
import ray
from rich.console import Console

from workflows.progress import Display, Event


@pytest.mark.parametrize(("terminal", "expected"), [(False, [2, 4, 6]), (True, [6])])
def test_a_log_has_a_line_for_every_minute_of_a_stage_and_its_end(
    ray_here, terminal: bool, expected: list[int]
):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, highlight=False, width=100)
    with Display(console) as display:
        for epoch in range(1, 7):  # half a minute each
            event = Event("trial 01", "reid", epoch, 6, f"loss {epoch}", seconds=30.0)
            ray.get(display.board.post.remote(event))
    printed = [e for e in range(1, 7) if f"  trial 01 reid: epoch {e}/6, loss {e}\n" in text.getvalue()]
    assert printed == expected


def test_a_terminal_shows_all_epochs_before_the_first_has_ended(ray_here):
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, highlight=False, width=100)
    with Display(console, epochs={"dsgan": 2, "reid": 4}) as display:
        display.bars.refresh()
        assert "0/6" in text.getvalue()
        for label in ("trial 01", "trial 02"):
            ray.get(display.board.post.remote(Event(label, "dsgan", 1, 1, "loss 1", seconds=1.0)))
        display._show()
        assert display.bars.tasks[display.all].completed == 2
