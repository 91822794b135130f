"""The console that all commands print to, and the tables of results."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tsme.storage.object_store import AnyPath

if TYPE_CHECKING:
    from tsme.config import DatasetName
    from tsme.evaluation.results import EvaluationResult

# Without a terminal (a file, the log of a job) rich assumes 80 columns, too few for the tables.
console = Console(width=None if sys.stdout.isatty() else 140)


def print_table(dataset: DatasetName, rows: list[EvaluationResult]) -> None:
    """Print the figures of `rows`, averaged per protocol."""
    from tsme.report.tables import results_table

    console.print(results_table(dataset, rows))


def print_results(results: dict[str, Any], out: AnyPath | None) -> None:
    """Print the table of `results`, then, for a run in `out`, where its files and records are."""
    from tsme.evaluation.results import EvaluationResult

    print_table(results["dataset"], [EvaluationResult(**row) for row in results["trials"]])
    if out is not None:
        if (out / "report.html").exists():
            console.print(f"report: {out / 'report.html'}", soft_wrap=True)
        console.print(f"figures: {out / 'results.json'}", soft_wrap=True)
        console.print(f"weights: {out / 'stages'}", soft_wrap=True)
        uri = results["mlflow_uri"]
        store = uri if uri.startswith("http") else f"mlflow ui --backend-store-uri {uri}"
        console.print(f"runs, curves, images: {store}", soft_wrap=True)
