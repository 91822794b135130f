"""Train trials on all of their training identities, several trials side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

from tsme.config import Config
from tsme.errors import UserError
from tsme.storage.object_store import AnyPath
from tsme.training.trial import TrialTraining
from workflows.cluster.resources import side_by_side
from workflows.progress import Display
from workflows.run import WorkflowRun
from workflows.steps.worker_group import TrainJob, train_group
from workflows.tracking.runs import MlflowRun

STAGE_NUMBERS = {"dsgan": 1, "reid": 2}


def train_trials(
    run: WorkflowRun, config: Config, *, only_generators: bool = False
) -> dict[int, AnyPath]:
    """Train every trial of the run; returns the file that each trial's last stage wrote, by trial."""
    trainings = {
        f"trial {number:02d}": run.training(config, number, only_generators=only_generators)
        for number in run.trials
    }
    train_side_by_side(run, trainings, "trials")
    return {training.trial: training.result_file for training in trainings.values()}


def require_generators(run: WorkflowRun) -> None:
    """Raise UserError if stage 1 of a trial is needed and has not been trained."""
    trainings = [run.training(run.config, number) for number in run.trials]
    if any("dsgan" in t.stages and not t.generators_file.is_file() for t in trainings):
        raise UserError(f"--stage reid: {run.out} holds no generators; run --stage dsgan --resume first")


def train_side_by_side(run: WorkflowRun, trainings: Mapping[str, TrialTraining], what: str) -> None:
    """Train what has no result file yet, in as many slots as the cluster has room for.

    `trainings` are keyed by labels such as "trial 01"; `what` names them all, for example "trials".
    """
    resources = run.config.resources
    unfinished = {label for label, training in trainings.items() if not training.is_done()}
    slots = side_by_side(resources, len(trainings), run.console) if unfinished else 1
    name = f"train: {len(unfinished)} of {len(trainings)} {what}, {slots} at a time"
    epochs = _epochs(trainings[label] for label in unfinished)
    with run.step(name, total=len(unfinished), slots=slots, epochs=epochs):
        if not unfinished:
            return
        # Finished trainings are dealt out too, so that a resumed run forms the same groups.
        groups = [dict(list(trainings.items())[slot::slots]) for slot in range(slots)]
        with Display(run.console, resources, run.status.record, epochs) as display:
            _run_threads(
                [
                    partial(
                        train_group,
                        _jobs(run, group, unfinished),
                        display.board,
                        name=_group_name(group),
                        storage=run.out / "ray",
                    )
                    for group in groups
                    if unfinished & set(group)
                ]
            )


def _epochs(trainings: Iterable[TrialTraining]) -> dict[str, int]:
    """Epochs to train, by stage; trainings with the same generators train them once."""
    epochs: dict[str, int] = {}
    generators: set[str] = set()
    for training in trainings:
        for stage in training.stages:
            if stage == "dsgan":
                if training.generators_key in generators or training.generators_file.is_file():
                    continue
                generators.add(training.generators_key)
            epochs[stage] = epochs.get(stage, 0) + getattr(training.config, stage).epochs
    return epochs


def _run_threads(functions: Sequence[Callable[[], None]]) -> None:
    """Run each function in a thread of its own: Ray Train's fit() only waits.

    A failure is raised after the other threads have finished, so that their results are kept. An
    interrupt is raised at once.
    """
    pool = ThreadPoolExecutor(len(functions))
    try:
        for future in wait([pool.submit(function) for function in functions]).done:
            future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _group_name(trainings: Mapping[str, TrialTraining]) -> str:
    """A digest of what is trained, because Ray Train continues a run of the same name."""
    trials = "-".join(f"{n:02d}" for n in dict.fromkeys(t.trial for t in trainings.values()))
    config = next(iter(trainings.values())).config
    keys = [training.model_key for training in trainings.values()]
    return f"trials-{trials}-{config.digest('reid', keys=keys)}"


def _jobs(
    run: WorkflowRun, trainings: Mapping[str, TrialTraining], unfinished: set[str]
) -> list[TrainJob]:
    """A job for each training. Finished ones have no MLflow runs: theirs stay closed."""
    return [
        TrainJob(training, label, _stage_runs(run, label, training) if label in unfinished else {})
        for label, training in trainings.items()
    ]


def _stage_runs(run: WorkflowRun, label: str, training: TrialTraining) -> dict[str, MlflowRun]:
    keys = {"dsgan": training.generators_key, "reid": training.model_key}
    return {
        stage: run.mlflow_run.child(
            f"{label} stage {STAGE_NUMBERS[stage]} {stage}",
            f"{stage} {training.trial} {keys[stage]}",
            {"trial": training.trial, "stage": stage, "key": keys[stage]},
        )
        for stage in training.stages
    }
