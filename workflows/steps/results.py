"""Write results.json, what was run and every figure, and report.html, which shows it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tsme.evaluation.protocols import DESCRIPTIONS
from tsme.evaluation.results import EvaluationResult, summarise
from tsme.report.page import write_page
from tsme.report.run_folder import HISTORY, RESULTS
from tsme.storage.atomic import reading, write_json
from tune.importance import parameter_importance
from workflows.run import WorkflowRun
from workflows.steps.sweep import Choice
from workflows.tracking.history import child_histories
from workflows.tracking.provenance import command_line, git_revision, machine, package_versions
from workflows.tracking.server import redact


def write_results(
    run: WorkflowRun,
    choice: Choice,
    results: list[EvaluationResult],
    version: int,
    decision: str,
) -> dict[str, Any]:
    """Write the run's results.json, and log it and its summary to MLflow; returns its content.

    Figures are fractions of 1.
    """
    summary = summarise(results)
    content = {
        "dataset": run.config.dataset,
        "protocol": DESCRIPTIONS[run.config.dataset],
        "config": choice.config.model_dump(mode="json"),
        "data": str(run.data),
        "data_fingerprint": run.images.fingerprint,
        "validation": {
            "set": choice.validation_set,
            "mAP": choice.best.score,
            "best_epoch": choice.best.epoch,
            "epochs_trained": choice.epochs_trained,
            "epochs_in_full": choice.epochs_in_full,
            "samples": [asdict(sample) for sample in choice.samples],
            "importance": parameter_importance(choice.samples, run.config),
        },
        "trials": [result.to_json() for result in results],
        "summary": summary,
        "command": command_line(),
        "git_revision": git_revision(),
        "versions": package_versions(),
        "machine": machine(),
        "mlflow_run": run.mlflow_run.run_id,
        "mlflow_experiment": run.mlflow_run.experiment_id,
        "mlflow_uri": redact(run.mlflow_run.uri),
        "timeline": run.timeline,
        "model": {"name": run.model_name, "version": version, "decision": decision},
    }
    file = run.out / RESULTS
    write_json(file, content)
    with reading(file) as local:
        run.mlflow_run.log_file(local)
    run.mlflow_run.log_metrics(_summary_metrics(summary))
    return content


def write_report(run: WorkflowRun) -> None:
    """Write the run's report.html, and log it to MLflow.

    The curves and times of the child runs are kept in history.json, so that the page can be made again
    from the folder alone.
    """
    with run.step("report"):
        write_json(run.out / HISTORY, child_histories(run.mlflow_run))
        with reading(write_page(run.out)) as local:
            run.mlflow_run.log_file(local)


def _summary_metrics(summary: dict[str, dict[str, dict[str, float | None]]]) -> dict[str, float]:
    """Names such as "visible-to-infrared/rank1_mean"."""
    return {
        f"{protocol}/{figure}_{statistic}": value
        for protocol, figures in summary.items()
        for figure, statistics in figures.items()
        for statistic, value in statistics.items()
        if value is not None
    }
