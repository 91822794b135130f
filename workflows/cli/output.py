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
    """Print the table of `results`, then, for a run in `out`, where its report and records are."""
    from tsme.evaluation.results import EvaluationResult

    print_table(results["dataset"], [EvaluationResult(**row) for row in results["trials"]])
    if out is not None:
        page = out / "report.html"
        console.print(f"report: {page if page.exists() else out / 'results.json'}", soft_wrap=True)
        console.print(f"MLflow: {_how_to_see_runs(results)}", soft_wrap=True)


def _how_to_see_runs(results: dict[str, Any]) -> str:
    """How to open MLflow's page of the runs; an experiment's plain address shows no training runs."""
    uri = results["mlflow_uri"]
    server = uri if uri.startswith("http") else "http://127.0.0.1:5000"
    experiment = results.get("mlflow_experiment")  # not in files of earlier versions
    page = f"/#/experiments/{experiment}/runs?workflowType=machine_learning" if experiment else ""
    if server == uri:
        return f"{server}{page}"
    return f"mlflow ui --backend-store-uri {uri}, then open {server}{page}"
