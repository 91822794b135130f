"""What a run says while it works: on a terminal and in a log."""

from __future__ import annotations

import io

import pytest
import ray
from rich.console import Console

from workflows.progress import Display, Event


@pytest.mark.parametrize(("terminal", "told"), [(False, [2, 4, 6]), (True, [6])])
def test_a_log_hears_of_a_stage_every_minute_and_at_its_end(ray_here, terminal: bool, told: list[int]):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, highlight=False, width=100)
    with Display(console) as display:
        for epoch in range(1, 7):  # of half a minute each
            event = Event("trial 01", "reid", epoch, 6, f"loss {epoch}", 30.0, 1000.0 + 30 * epoch)
            ray.get(display.board.post.remote(event))
    said = [e for e in range(1, 7) if f"  trial 01 reid: epoch {e}/6, loss {e}\n" in text.getvalue()]
    assert said == told
    assert [spell[1] for spell in display.spells] == [1000.0 + 30 * e for e in range(1, 7)]
