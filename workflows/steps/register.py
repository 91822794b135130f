"""Register the trained weights as a model version; promote it if it is the best so far."""

from __future__ import annotations

from collections.abc import Mapping

from tsme.storage.object_store import AnyPath
from workflows.run import WorkflowRun
from workflows.steps.sweep import Choice
from workflows.tracking import registry


def register_version(run: WorkflowRun, choice: Choice, weights: Mapping[int, AnyPath]) -> int:
    """Register the weights of all trials as one version of the run's model; returns its number."""
    embedding = choice.config.reid.stripes * choice.config.reid.embedding
    with run.step("register"):
        return registry.register(
            run.mlflow_run, run.model_name, weights, embedding, _candidate(run, choice)
        )


def promote_version(run: WorkflowRun, choice: Choice, version: int) -> str:
    """Make the version the champion if its validation mAP is the best; returns the decision and why."""
    with run.step("promote"):
        decision = registry.promote(run.mlflow_run, run.model_name, version, _candidate(run, choice))
    run.console.print(f"{run.model_name} version {version}: {decision}")
    return decision


def _candidate(run: WorkflowRun, choice: Choice) -> registry.Candidate:
    return registry.Candidate(choice.best.score, choice.validation_set, run.images.fingerprint)
