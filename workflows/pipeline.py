"""The whole workflow: choose a configuration, train every trial, register, evaluate, promote."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from tsme.config import Config, override
from tsme.data.fingerprint import fingerprint
from tsme.data.records import Trial, hold_out
from tsme.data.regdb import available_trials, read_trial
from tsme.errors import UserError
from tsme.evaluation.trials import Row, summarise
from tsme.files import read_json, write_json
from tsme.models.reid import FUSED_STRIPES
from tsme.training.chain import STAGES, Chain
from tsme.training.loop import Stage
from tune.spaces import search_space
from tune.sweep import Sample, sweep
from workflows import registry, tracking
from workflows.cluster import at_once, cluster, fit_resources
from workflows.evaluate import evaluate_trials
from workflows.progress import Display
from workflows.sample import SampleJob
from workflows.tracking import Run
from workflows.train import TrainJob, train_lane


@dataclass
class Workflow:
    """A run of the workflow in the folder `out`; `timeline` collects what took how long."""

    config: Config
    data: Path
    out: Path
    trials: dict[int, Trial]
    fingerprint: str
    run: Run
    console: Console
    timeline: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step and note its duration."""
        self.console.print(f"[bold]{name}[/bold]")
        began = time.monotonic()
        yield
        self.timeline.append({"step": name, "seconds": round(time.monotonic() - began, 1)})

    def chain(self, config: Config, trial: int, stages: tuple[Stage, ...] = STAGES) -> Chain:
        """Training of a trial on all of its training people."""
        return Chain(
            config=config,
            trial=trial,
            train=self.trials[trial].train,
            validation=None,
            fingerprint=self.fingerprint,
            products=self.out / "stages",
            stages=stages,
        )


@dataclass(frozen=True)
class Choice:
    """The configuration the sweep chose, its validation score, and the people that measured it."""

    config: Config
    samples: list[Sample]
    validation_set: str

    @property
    def score(self) -> float:
        """Validation mAP in [0, 1]."""
        return self.samples[0].score


@contextmanager
def workflow(
    config: Config,
    data: Path,
    out: Path,
    *,
    name: str,
    trials: list[int] | None,
    resume: bool,
    console: Console,
) -> Iterator[Workflow]:
    """Open a workflow in `out`: data read, Ray up, MLflow's parent run open; closed with the block.

    Raises UserError if `out` holds a run and `resume` is not given, or if it holds another run.
    """
    data, out = data.resolve(), out.resolve()
    loaded = {number: read_trial(data, number) for number in trials or available_trials(data)}
    data_print = fingerprint(data, available_trials(data))
    identity = {
        "config": config.model_dump(mode="json", exclude={"resources"}),
        "trials": list(loaded),
        "data_fingerprint": data_print,
    }
    run_id = _claim(out, identity, resume)
    with cluster():
        config = fit_resources(config)
        uri = tracking.tracking_uri(Path.cwd())
        run = tracking.open_workflow(uri, config, name, data, data_print, run_id)
        write_json(out / "run.json", identity | {"mlflow_run": run.run_id, "mlflow_uri": uri})
        console.print(f"data {data_print} · run {run.run_id} in {uri} · results in {out}")
        try:
            yield Workflow(config, data, out, loaded, data_print, run, console)
        except BaseException as error:
            run.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        run.close()


def _claim(out: Path, identity: dict[str, Any], resume: bool) -> str | None:
    """The MLflow run to continue in `out`, None for a new one; UserError if it is taken."""
    file = out / "run.json"
    if not file.exists():
        if out.exists() and any(out.iterdir()):
            raise UserError(f"{out}: not empty and no run of TSME; choose another --out")
        return None
    if not resume:
        raise UserError(f"{out}: already holds a run; --resume continues it, or choose another --out")
    known = read_json(file)
    for key, value in identity.items():
        if known.get(key) != value:
            raise UserError(
                f"{out}: the run there has another {key.replace('_', ' ')}; resume it with the options "
                "it was started with, or choose another --out"
            )
    return str(known["mlflow_run"])


def run_workflow(flow: Workflow, samples: int) -> dict[str, Any]:
    """Everything, from the sweep to the promoted version; returns what results.json holds."""
    choice = choose(flow, max(1, samples))
    weights = train_all(flow, choice.config, STAGES)
    name = f"tsme-{flow.config.dataset}"
    candidate = registry.Candidate(choice.score, choice.validation_set)
    with flow.step("register"):
        descriptor = FUSED_STRIPES * choice.config.reid.embedding
        version = registry.register(flow.run, name, weights, descriptor, candidate)
    with flow.step("evaluate"):
        keys = {n: path.stem.rpartition("-")[2] for n, path in weights.items()}
        runs = {
            n: flow.run.child(f"trial {n:02d} evaluation", f"evaluation {keys[n]}", {"trial": n})
            for n in weights
        }
        rows = evaluate_trials(weights, flow.data, flow.config.resources, runs=runs)
    with flow.step("promote"):
        decision = registry.promote(flow.run, name, version, candidate)
    flow.console.print(f"{name} version {version}: {decision}")
    results = _results(flow, choice, rows) | {
        "model": {"name": name, "version": version, "decision": decision},
    }
    _record(flow, results)
    return results


def choose(flow: Workflow, samples: int) -> Choice:
    """Sweep on the first trial: part of its training people measure what the others taught."""
    number, trial = next(iter(flow.trials.items()))
    config = flow.config
    train, held = hold_out(trial.train, config.validation.fraction, config.seed)
    chain = Chain(config, number, train, held, flow.fingerprint, flow.out / "stages")
    title = f"choose: {samples} of the sweep's samples on trial {number}, "
    title += f"measured on {len(held.identities)} held-out people"
    with flow.step(title), Display(flow.console) as display:
        tried = sweep(
            SampleJob(chain, flow.run, display.board),
            search_space(config),
            config=config,
            samples=samples,
            storage=flow.out / "ray",
            name=f"sweep-{samples}",
        )
    best = tried[0]
    chosen = override(config, best.values | {"reid.epochs": best.epoch})
    flow.run.tag({"sweep.best": best.name})
    flow.run.log_metrics({"validation_mAP": best.score, "chosen_epochs": best.epoch})
    flow.console.print(
        f"  chosen: {best.name}, validation mAP {100 * best.score:.2f} % at epoch {best.epoch}"
    )
    people = config.digest("dataset", data=flow.fingerprint, trial=number, people=held.identities)
    return Choice(chosen, tried, people)


def train_all(flow: Workflow, config: Config, stages: tuple[Stage, ...]) -> dict[int, Path]:
    """Train every trial on all of its training people, as many side by side as the cluster holds.

    Returns the file of the last stage, by trial.
    """
    chains = [flow.chain(config, number, stages) for number in flow.trials]
    left = sum(not chain.done for chain in chains)
    # Lanes are dealt from all chains, done or not, so that a resumed run finds its lanes again.
    count = min(at_once(config.resources), len(chains))
    lanes = [chains[first::count] for first in range(count)]
    with flow.step(f"train: {left} of {len(chains)} trials, {count} at a time"):
        if left:
            with Display(flow.console) as display, ThreadPoolExecutor(count) as pool:
                # Threads, because fit() only waits for actors. A failure is raised when the other
                # lanes are through, whose results then need not be repeated.
                list(pool.map(partial(_train_lane, flow, display), lanes))
    return {chain.trial: chain.product for chain in chains}


def _train_lane(flow: Workflow, display: Display, chains: list[Chain]) -> None:
    if all(chain.done for chain in chains):
        return
    jobs = [TrainJob(chain, _stage_runs(flow, chain)) for chain in chains]
    people = "-".join(f"{chain.trial:02d}" for chain in chains)
    name = f"trials-{people}-{chains[0].config.digest('reid', keys=[chain.key for chain in chains])}"
    train_lane(jobs, display.board, name, flow.out / "ray")


def _stage_runs(flow: Workflow, chain: Chain) -> dict[Stage, Run]:
    """The MLflow run of each of the chain's stages."""
    keys: dict[Stage, str] = {"dsgan": chain.dsgan_key, "reid": chain.key}
    return {
        stage: flow.run.child(
            f"trial {chain.trial:02d} stage {number} {stage}",
            f"{stage} {chain.trial} {keys[stage]}",
            {"trial": chain.trial, "stage": stage, "key": keys[stage]},
        )
        for number, stage in enumerate(chain.stages, 1)
    }


def _results(flow: Workflow, choice: Choice, rows: list[Row]) -> dict[str, Any]:
    """What was run and every figure, as results.json holds it; figures are fractions of 1."""
    return {
        "dataset": flow.config.dataset,
        "protocol": "regdb: all gallery images, no camera filter; each trial with its own weights",
        "config": choice.config.model_dump(mode="json"),
        "data": str(flow.data),
        "data_fingerprint": flow.fingerprint,
        "validation": {
            "set": choice.validation_set,
            "mAP": choice.score,
            "epochs": choice.samples[0].epoch,
            "samples": [asdict(sample) for sample in choice.samples],
        },
        "trials": [row.to_json() for row in rows],
        "summary": summarise(rows),
        "git_revision": tracking.git_revision(),
        "mlflow_run": flow.run.run_id,
        "timeline": flow.timeline,
    }


def _record(flow: Workflow, results: dict[str, Any]) -> None:
    """Write results.json and log its summary to the parent run."""
    path = flow.out / "results.json"
    write_json(path, results)
    flow.run.log_file(path)
    for direction, figures in results["summary"].items():
        for figure, value in figures.items():
            flow.run.log_metrics(
                {f"{direction}/{figure}_{part}": value[part] for part in ("mean", "std")}
            )
