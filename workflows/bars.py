"""Progress bars that show a sign of life, and the time left once it can be estimated."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SPEED_SECONDS = 600.0  # of the past that the time left is estimated from: epochs end in bursts


def progress_bars(console: Console) -> Progress:
    """Bars that vanish at the end. A task has a field `summary`, which is shown beside its bar."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[summary]}"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        refresh_per_second=4,  # ten take a tenth of a core from what is shown
        speed_estimate_period=SPEED_SECONDS,
    )
