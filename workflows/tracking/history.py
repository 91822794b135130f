"""The history of a workflow's child runs: where and when each ran, and its curves."""

from __future__ import annotations

from typing import Any

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from workflows.tracking.runs import PARENT_TAG, MlflowRun, search_runs
from workflows.tracking.server import connect

PLACE_TAGS = ("host", "device")
VALIDATION = "val_mAP"
SECONDS = "epoch_seconds"


def child_histories(run: MlflowRun) -> list[dict[str, Any]]:
    """One entry per child run, by name: `name`, `place`, `began`, `ended` and `curves`.

    Times are seconds since 1970, of the first epoch's beginning and the last epoch's end; a run without
    epochs, such as an evaluation, has no entry. A curve is a list of epochs and a list of values; of an
    epoch that was repeated, the last value counts. Sweep samples, which log both stages to one run, have
    the curve of their validation alone, other trainings those of their losses.
    """
    children = f"tags.`{PARENT_TAG}` = '{run.run_id}'"
    with connect(run.uri) as client:
        found = [_history(client, child) for child in search_runs(client, run.experiment_id, children)]
    return sorted((each for each in found if each), key=lambda each: each["name"])


def _history(client: MlflowClient, run: Run) -> dict[str, Any] | None:
    metrics = run.data.metrics
    if SECONDS not in metrics:
        return None
    losses = sorted(name for name in metrics if name.startswith("loss/"))
    curves: dict[str, dict[str, list[float]]] = {}
    for name in [VALIDATION] if VALIDATION in metrics else losses:
        points = client.get_metric_history(run.info.run_id, name)
        values = {point.step: point.value for point in sorted(points, key=lambda p: p.timestamp)}
        epochs = sorted(values)
        curves[name] = {"epochs": epochs, "values": [values[epoch] for epoch in epochs]}
    timed = client.get_metric_history(run.info.run_id, SECONDS)
    place = [run.data.tags[tag] for tag in PLACE_TAGS if tag in run.data.tags]
    return {
        "name": run.info.run_name,
        "place": ", ".join(place),
        "began": min(point.timestamp / 1000 - point.value for point in timed),
        "ended": max(point.timestamp for point in timed) / 1000,
        "curves": curves,
    }
