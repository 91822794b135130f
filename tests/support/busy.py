"""How much of a finished run's time was training: `python -m tests.support.busy runs/demo`.

The seconds of every step are in the run's results.json. Training epochs are in MLflow: each logs its
seconds when it ends. The rest is starting processes, importing, generating data, translating, evaluating.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mlflow.tracking import MlflowClient

Interval = tuple[float, float]


def busy_seconds(intervals: Sequence[Interval]) -> float:
    """Mean busy seconds per slot; the slots are the largest number of overlapping intervals."""
    # Where one interval ends as another starts, the end comes first: they fit into one slot.
    changes = sorted([(start, 1) for start, _ in intervals] + [(end, -1) for _, end in intervals])
    slots = overlapping = 0
    for _, change in changes:
        overlapping += change
        slots = max(slots, overlapping)
    return sum(end - start for start, end in intervals) / max(1, slots)


def epochs(client: MlflowClient, parent: str) -> dict[str, list[Interval]]:
    """When each epoch started and ended, in seconds since 1970, by the first word of its MLflow run.

    The word tells apart what runs one after the other: "stage" 0, the "sweep", each "trial".
    """
    experiment = client.get_run(parent).info.experiment_id
    found: dict[str, list[Interval]] = {}
    for run in client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'"):
        intervals = found.setdefault(str(run.info.run_name).split()[0], [])
        for point in client.get_metric_history(run.info.run_id, "epoch_seconds"):
            end = point.timestamp / 1000
            intervals.append((end - point.value, end))
    return found


def main(folder: Path) -> None:
    """Print the timeline of the run in `folder`, and how much of it was training."""
    results = json.loads((folder / "results.json").read_text())
    for line in results["timeline"]:
        print(f"{line['seconds']:8.1f} s  {line['step']}")
    total = sum(line["seconds"] for line in results["timeline"])
    phases = epochs(MlflowClient(results["mlflow_uri"]), results["mlflow_run"])
    busy = sum(busy_seconds(intervals) for intervals in phases.values())
    print(f"{total:8.1f} s  in all; {busy:.1f} s of it in training epochs ({busy / total:.0%})")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
