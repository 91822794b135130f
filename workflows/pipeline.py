"""The whole workflow: choose a configuration, train every trial, register, evaluate, promote."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from functools import partial
from typing import Any

from tsme.config import Config
from tsme.evaluation.protocols import DESCRIPTIONS, Search
from tsme.evaluation.results import FIGURES, EvaluationResult, summarise
from tsme.models.reid import FUSED_STRIPES
from tsme.report.tables import result_lines
from tsme.storage.atomic import read_json, reading, write_json
from tsme.storage.object_store import AnyPath
from tsme.training.trial import TrialTraining
from workflows.cluster.resources import side_by_side
from workflows.progress import Display
from workflows.run import WorkflowRun
from workflows.steps.evaluate import EvaluationJob, evaluate
from workflows.steps.pretrain import pretrain_backbones
from workflows.steps.sweep import Choice, choose
from workflows.steps.train import TrainJob, train_lane
from workflows.tracking import registry
from workflows.tracking.provenance import git_revision
from workflows.tracking.runs import MlflowRun
from workflows.tracking.server import redact

NUMBERS: dict[str, int] = {"dsgan": 1, "reid": 2}  # a network without translations has no stage 1


def run_workflow(run: WorkflowRun) -> dict[str, Any]:
    """Everything, from the sweep to the promoted version; returns what results.json holds."""
    wanted = run.searches()  # before anything is spent on what cannot be measured
    choice = choose(run)
    weights = train_all(run, choice.config)
    name = f"tsme-{run.config.dataset}"
    candidate = registry.Candidate(choice.score, choice.validation_set, run.pixels.fingerprint)
    with run.step("register"):
        descriptor = FUSED_STRIPES * choice.config.reid.embedding
        version = registry.register(run.mlflow_run, name, weights, descriptor, candidate)
    rows = evaluate_all(run, weights, wanted)
    with run.step("promote"):
        decision = registry.promote(run.mlflow_run, name, version, candidate)
    run.console.print(f"{name} version {version}: {decision}")
    results = _results(run, choice, rows) | {
        "model": {"name": name, "version": version, "decision": decision},
    }
    _record(run, results)
    return results


def train_and_measure(
    run: WorkflowRun, *, only_generators: bool
) -> tuple[AnyPath, list[EvaluationResult]]:
    """Train the first trial as configured: the file it leaves, and what that reaches on test identities.

    `only_generators` ends after stage 1, whose result nothing is measured of.
    """
    wanted = {} if only_generators else run.searches()
    pretrain_backbones(run, run.config, only_generators=only_generators)
    weights = train_all(run, run.config, only_generators=only_generators)
    file = next(iter(weights.values()))
    if only_generators:
        return file, []
    return file, evaluate_all(run, weights, wanted)


def train_all(run: WorkflowRun, config: Config, *, only_generators: bool = False) -> dict[int, AnyPath]:
    """Train every trial on all of its training identities, as many side by side as the cluster holds.

    Returns the file of the last stage, by trial.
    """
    chains = {f"trial {n:02d}": run.chain(config, n, only_generators=only_generators) for n in run.trials}
    train_chains(run, chains, "trials")
    return {chain.trial: chain.result_file for chain in chains.values()}


def train_chains(run: WorkflowRun, chains: Mapping[str, TrialTraining], what: str) -> None:
    """Train chains, known by labels such as "trial 01", as many side by side as the cluster holds."""
    resources = run.config.resources
    left = sum(not chain.is_done() for chain in chains.values())
    # Lanes are dealt from all chains, done or not, so that a resumed run finds its lanes again.
    count = side_by_side(resources, len(chains), run.console) if left else 1
    lanes = [dict(list(chains.items())[first::count]) for first in range(count)]
    with run.step(f"train: {left} of {len(chains)} {what}, {count} at a time") as spells:
        if left:
            with Display(run.console, resources) as display:
                _side_by_side([partial(_train_lane, run, display, lane) for lane in lanes])
            spells += display.spells


def _side_by_side(lanes: list[Callable[[], None]]) -> None:
    """Run all lanes, each in a thread, since Ray Train's fit() does nothing but wait.

    A failure is raised when the other lanes are through, whose results then need not be repeated; an
    interrupt is raised at once.
    """
    pool = ThreadPoolExecutor(len(lanes))
    try:
        for future in wait([pool.submit(lane) for lane in lanes]).done:
            future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _train_lane(run: WorkflowRun, display: Display, chains: Mapping[str, TrialTraining]) -> None:
    if all(chain.is_done() for chain in chains.values()):
        return
    jobs = [TrainJob(chain, label, _stage_runs(run, label, chain)) for label, chain in chains.items()]
    people = "-".join(f"{n:02d}" for n in dict.fromkeys(chain.trial for chain in chains.values()))
    first = next(iter(chains.values()))
    name = f"trials-{people}-{first.config.digest('reid', keys=[c.model_key for c in chains.values()])}"
    train_lane(jobs, display.board, name, run.out / "ray")


def _stage_runs(run: WorkflowRun, label: str, chain: TrialTraining) -> dict[str, MlflowRun]:
    """The MLflow run of each of the chain's stages; of a finished chain none is opened again."""
    if chain.is_done():
        return {}
    keys: dict[str, str] = {"dsgan": chain.generators_key, "reid": chain.model_key}
    return {
        stage: run.mlflow_run.child(
            f"{label} stage {NUMBERS[stage]} {stage}",
            f"{stage} {chain.trial} {keys[stage]}",
            {"trial": chain.trial, "stage": stage, "key": keys[stage]},
        )
        for stage in chain.stages
    }


def evaluate_all(
    run: WorkflowRun, weights: dict[int, AnyPath], wanted: dict[int, list[Search]]
) -> list[EvaluationResult]:
    """Every trial's rows."""
    asked = run.config.evaluation
    jobs = {f"trial {n:02d}": EvaluationJob(n, path, wanted[n], asked) for n, path in weights.items()}
    return [row for rows in measure(run, jobs).values() for row in rows]


def measure(run: WorkflowRun, jobs: Mapping[str, EvaluationJob]) -> dict[str, list[EvaluationResult]]:
    """Rows by label; weights that were measured in the same way before are not measured again."""
    keys = {label: f"{job.weights.stem}-{_measured_by(job)}" for label, job in jobs.items()}
    files = {
        label: job.weights.with_name(f"evaluation-{keys[label]}.json") for label, job in jobs.items()
    }
    left = {label: job for label, job in jobs.items() if not files[label].exists()}
    with run.step("evaluate") as spells:
        for label, rows, worked in evaluate(left, run.pixels, run.config.resources, console=run.console):
            spells += worked
            name, key = f"{label} stage 3 evaluation", f"evaluation {keys[label]}"
            child = run.mlflow_run.child(name, key, {"trial": jobs[label].trial})
            for row in rows:
                figures = {f"{row.protocol}/{figure}": getattr(row, figure) for figure in FIGURES}
                child.log_metrics(figures, step=row.draw or 0)
            child.close()
            write_json(files[label], [row.to_json() for row in rows])
            for line in result_lines(label, rows):
                run.console.print(line, soft_wrap=True)
    return {label: [EvaluationResult(**row) for row in read_json(file)] for label, file in files.items()}


def _measured_by(job: EvaluationJob) -> str:
    """Name of a way to measure: its settings, and which images are in the drawn galleries."""
    galleries = [zlib.crc32(search.gallery.tobytes()) for search in job.searches]
    return Config(evaluation=job.evaluation).digest("evaluation", galleries=galleries)


def _results(run: WorkflowRun, choice: Choice, rows: list[EvaluationResult]) -> dict[str, Any]:
    """What was run and every figure, as results.json holds it; figures are fractions of 1."""
    return {
        "dataset": run.config.dataset,
        "protocol": DESCRIPTIONS[run.config.dataset],
        "config": choice.config.model_dump(mode="json"),
        "data": str(run.data),
        "data_fingerprint": run.pixels.fingerprint,
        "validation": {
            "set": choice.validation_set,
            "mAP": choice.score,
            "epochs": choice.samples[0].epoch,
            "epochs_trained": choice.epochs,
            "epochs_in_full": choice.epochs_in_full,
            "samples": [asdict(sample) for sample in choice.samples],
        },
        "trials": [row.to_json() for row in rows],
        "summary": summarise(rows),
        "git_revision": git_revision(),
        "mlflow_run": run.mlflow_run.run_id,
        "mlflow_uri": redact(run.mlflow_run.uri),
        "timeline": run.timeline,
        "overhead": run.overhead,
    }


def _record(run: WorkflowRun, results: dict[str, Any]) -> None:
    """Write results.json and log its summary to the parent run."""
    path = run.out / "results.json"
    write_json(path, results)
    with reading(path) as file:
        run.mlflow_run.log_file(file)
    run.mlflow_run.log_metrics(
        {
            f"{protocol}/{figure}_{part}": value
            for protocol, figures in results["summary"].items()
            for figure, parts in figures.items()
            for part, value in parts.items()
            if value is not None
        }
    )
