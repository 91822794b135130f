"""ASHA for a sweep that can be continued."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler


class ResumableASHA(ASHAScheduler):
    """ASHA that stops the same trials in a continued sweep as in one that was not interrupted.

    `Tuner.restore` brings back the trials and the searcher, but not the scheduler: its rungs are empty,
    so the samples before the interruption would not be compared with those after it.
    """

    def __init__(self, *, time_attr: str, **options: Any) -> None:
        super().__init__(time_attr=time_attr, **options)
        self.time_attr = time_attr
        self.stopped_at: dict[str, float] = {}  # the time of the decision, by trial id

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide after a report.

        A trial whose stop was decided just before an interruption starts again from its last checkpoint,
        and is stopped at the same epoch.
        """
        time = result[self.time_attr]
        if time >= self.stopped_at.get(trial.trial_id, float("inf")):
            return str(self.STOP)
        decision = str(super().on_trial_result(tune_controller, trial, result))
        if decision == self.STOP:
            self.stopped_at[trial.trial_id] = time
        return decision

    def replay(self, reports: Iterable[dict[str, Any]]) -> None:
        """Fill the rungs with earlier reports, in their order; each has its `trial_id`."""
        trials: dict[str, Any] = {}
        for report in reports:
            trial_id = report["trial_id"]
            if trial_id not in trials:
                trials[trial_id] = SimpleNamespace(trial_id=trial_id)
                self.on_trial_add(None, trials[trial_id])
            self.on_trial_result(None, trials[trial_id], report)
