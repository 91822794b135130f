"""Write results.json: what was run, and every figure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tsme.evaluation.protocols import DESCRIPTIONS
from tsme.evaluation.results import EvaluationResult, summarise
from tsme.storage.atomic import reading, write_json
from workflows.run import WorkflowRun
from workflows.steps.sweep import Choice
from workflows.tracking.provenance import git_revision
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
        },
        "trials": [result.to_json() for result in results],
        "summary": summary,
        "git_revision": git_revision(),
        "mlflow_run": run.mlflow_run.run_id,
        "mlflow_uri": redact(run.mlflow_run.uri),
        "timeline": run.timeline,
        "model": {"name": run.model_name, "version": version, "decision": decision},
    }
    file = run.out / "results.json"
    write_json(file, content)
    with reading(file) as local:
        run.mlflow_run.log_file(local)
    run.mlflow_run.log_metrics(_summary_metrics(summary))
    return content


def _summary_metrics(summary: dict[str, dict[str, dict[str, float | None]]]) -> dict[str, float]:
    """Names such as "visible-to-infrared/rank1_mean"."""
    return {
        f"{protocol}/{figure}_{statistic}": value
        for protocol, figures in summary.items()
        for figure, statistics in figures.items()
        for statistic, value in statistics.items()
        if value is not None
    }
