"""Words for what reports and messages show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it imports torch, and commands that only print durations start at once
    from tsme.evaluation.results import EvaluationResult

FIGURES = {"rank1": "Rank-1", "mAP": "mAP", "mINP": "mINP"}


def duration(seconds: float) -> str:
    """Such as "2 h 05 min", "3 min 20 s" or "7.1 s"."""
    if seconds < 60:
        return f"{max(0, seconds):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def figures_table(results: Sequence[EvaluationResult]) -> str:
    """Mean and standard deviation of the headline figures by protocol, in per cent, as Markdown."""
    from tsme.evaluation.results import summarise
    from tsme.report.tables import cell

    lines = [f"| protocol | {' | '.join(FIGURES.values())} |", "|---" + "|---:" * len(FIGURES) + "|"]
    for protocol, figures in summarise(results).items():
        cells = " | ".join(cell(figures[figure]) for figure in FIGURES)
        lines.append(f"| {protocol.replace('-to-', ' to ')} | {cells} |")
    return "\n".join(lines)
