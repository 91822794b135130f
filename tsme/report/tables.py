"""Results as tables on a terminal; figures in per cent, as the field prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from tsme.data.check import CheckReport
from tsme.evaluation.trials import FIGURES, Row

TITLES = {"rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "rank20": "Rank-20"}


def results_tables(rows: list[Row], summary: Mapping[str, Any]) -> list[Table]:
    """A table per direction: a line per trial, then mean and standard deviation over the trials."""
    return [
        _direction_table(direction, [row for row in rows if row.direction == direction], figures)
        for direction, figures in summary.items()
    ]


def _direction_table(direction: str, rows: list[Row], figures: Mapping[str, Any]) -> Table:
    people = " or ".join(str(n) for n in sorted({row.test_identities for row in rows}))
    title = f"RegDB, {direction.replace('-', ' ')}, {people} test identities, in %"
    table = Table(title=title)
    table.add_column("trial", justify="right")
    for figure in FIGURES:
        table.add_column(TITLES.get(figure, figure), justify="right")
    for row in rows:
        seen = f" (weights of {row.model_trial}: saw {row.seen_identities})"
        name = f"{row.trial}{seen * (row.trial != row.model_trial)}"
        table.add_row(name, *(f"{100 * getattr(row, figure):.2f}" for figure in FIGURES))
    table.add_section()
    for part in ("mean", "std"):
        table.add_row(part, *(f"{100 * figures[f][part]:.2f}" for f in FIGURES), style="bold")
    return table


def trial_line(trial: int, rows: list[Row]) -> str:
    """A trial's headline figures, for when its evaluation ends."""
    figures = [
        f"{row.direction.replace('-', ' ')} Rank-1 {100 * row.rank1:.2f}, mAP {100 * row.mAP:.2f}"
        for row in rows
    ]
    return f"  trial {trial:02d}: {'; '.join(figures)}"


def samples_table(samples: Sequence[tuple[str, Mapping[str, float], float, int, int]]) -> Table:
    """A line per sweep sample: name, what it set, best validation mAP, its epoch, epochs trained."""
    table = Table(title="sweep, best sample first")
    table.add_column("sample")
    table.add_column("validation mAP %", justify="right")
    table.add_column("at epoch", justify="right")
    keys = list(samples[0][1])
    for key in keys:
        table.add_column(key.replace(".", ".\u200b"), justify="right")  # may break after a dot
    for name, values, score, epoch, epochs in samples:
        table.add_row(
            name, f"{100 * score:.2f}", f"{epoch} of {epochs}", *(f"{values[key]:.4g}" for key in keys)
        )
    return table


def check_tables(report: CheckReport) -> list[Table]:
    """What each trial holds, and how many of its test people the weights of each trial have seen."""
    sizes = report.sizes
    title = f"{report.people} people, {report.images} images"
    if sizes is not None:
        title += f" of {sizes.min_width}-{sizes.max_width} x {sizes.min_height}-{sizes.max_height} pixels"
    counts = Table(title=title)
    for column in ("trial", "train people", "visible", "infrared", "test people", "visible", "infrared"):
        counts.add_column(column, justify="right")
    for trial in report.trials:
        numbers = [trial.number]
        for split in (trial.train, trial.test):
            numbers += [split.people, split.visible, split.infrared]
        counts.add_row(*map(str, numbers))
    seen = Table(title="test people of a trial (row) among the training people of a trial (column)")
    present = [trial.number for trial in report.trials]
    for number in ("", *map(str, present)):
        seen.add_column(number, justify="right")
    for row in present:
        values = [report.seen[row - 1][column - 1] for column in present]
        seen.add_row(str(row), *("-" if value is None else str(value) for value in values))
    return [counts, seen]
