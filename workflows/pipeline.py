"""The whole workflow, from a data set to a promoted model version. Start reading here."""

from __future__ import annotations

from typing import Any, Literal

from rich.console import Console

from tsme.evaluation.results import EvaluationResult
from tsme.storage.object_store import AnyPath
from workflows.run import RunOptions, open_run
from workflows.steps.evaluate import evaluate_trials
from workflows.steps.pretrain import pretrain_backbones
from workflows.steps.register import promote_version, register_version
from workflows.steps.results import write_report, write_results
from workflows.steps.sweep import choose_configuration
from workflows.steps.train import require_generators, train_trials


def run_workflow(options: RunOptions, console: Console) -> dict[str, Any]:
    """Run all steps, or those that are left of a resumed run; returns the content of results.json."""
    with open_run(options, console) as run:  # loads the data set, starts Ray and MLflow's parent run
        searches = run.searches()  # by trial; fails now if the data do not allow the protocol
        choice = choose_configuration(run)  # by a sweep on held-out training identities
        weights = train_trials(run, choice.config)  # a file by trial
        version = register_version(run, choice, weights)
        results = evaluate_trials(run, weights, searches)  # on test identities
        decision = promote_version(run, choice, results, version)  # by the validation score
        content = write_results(run, choice, results, version, decision)
        write_report(run)  # report.html, from the files that the steps have left
    return content


def train_and_evaluate(
    options: RunOptions, stage: Literal["dsgan", "reid", "all"], console: Console
) -> tuple[AnyPath, list[EvaluationResult]]:
    """Train the first trial as configured; returns the last stage's file and the test figures.

    The stage "dsgan" has no figures; "reid" raises UserError if "dsgan" has not been run before.
    """
    only_generators = stage == "dsgan"
    with open_run(options, console) as run:
        if stage == "reid":
            require_generators(run)
        searches = {} if only_generators else run.searches()
        pretrain_backbones(run, run.config, only_generators=only_generators)
        weights = train_trials(run, run.config, only_generators=only_generators)
        results = [] if only_generators else evaluate_trials(run, weights, searches)
    return next(iter(weights.values())), results
