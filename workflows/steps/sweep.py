"""Choose the configuration: a sweep on held-out training identities of the first trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from tsme.config import Config
from tsme.data.types import hold_out
from tsme.errors import JobFailed
from tsme.settings import override
from tsme.storage.atomic import read_json, write_json
from tsme.training.trial import TrialTraining
from tune.spaces import Space, search_space
from tune.sweep import Sample, sweep
from workflows.progress import Display
from workflows.run import WorkflowRun
from workflows.steps.pretrain import pretrain_backbones
from workflows.steps.sample import SampleJob


@dataclass(frozen=True)
class Choice:
    """The chosen configuration, and the samples it was chosen from, best first.

    `validation_set` is a digest of the held-out identities that measured the samples. `epochs_in_full` is
    the number of epochs that all samples would have trained had none been stopped early.
    """

    config: Config
    samples: list[Sample]
    validation_set: str
    epochs_in_full: int

    @property
    def best(self) -> Sample:
        return self.samples[0]

    @property
    def epochs_trained(self) -> int:
        """By all samples together."""
        return sum(sample.epochs for sample in self.samples)


def choose_configuration(run: WorkflowRun) -> Choice:
    """Try the run's samples on its first trial; the best sample's values enter the configuration.

    Part of the trial's training identities is held out to validate what is trained on the others. The
    number of epochs stays as configured: the learning-rate schedule is part of what was validated.

    Raises JobFailed if every sample diverged.
    """
    training = _validated_training(run)
    samples = _try_samples(run, training)
    best = samples[0]
    if best.epoch == 0:
        raise JobFailed("every sample of the sweep diverged: lower reid.optimizer.lr")
    choice = Choice(
        config=override(run.config, best.values),
        samples=samples,
        validation_set=_validation_set(training),
        epochs_in_full=len(samples) * run.config.reid.epochs,
    )
    run.mlflow_run.tag({"sweep.best": best.name})
    run.mlflow_run.log_metrics({"validation_mAP": best.score, "validation_best_epoch": best.epoch})
    _print_choice(run, choice)
    return choice


def _validated_training(run: WorkflowRun) -> TrialTraining:
    """Training of the first trial by one worker, with part of its training identities held out."""
    number, trial = next(iter(run.trials.items()))
    config, resources = run.config, run.config.resources
    if resources.workers > 1:
        run.console.print(
            f"note: samples train with one worker; {resources.workers} workers make batches "
            "that many times larger, for which the chosen learning rates may not be best"
        )
    train, held_out = hold_out(trial, config.validation.fraction, config.seed)
    one_worker = resources.model_copy(update={"workers": 1})
    config = config.model_copy(update={"resources": one_worker})
    return TrialTraining(config, number, train, held_out, run.images, run.out / "stages")


def _validation_set(training: TrialTraining) -> str:
    assert training.validation is not None
    return training.config.digest(
        "dataset",
        data=training.images.fingerprint,
        trial=training.trial,
        identities=training.validation.identities,
    )


def _try_samples(run: WorkflowRun, training: TrialTraining) -> list[Sample]:
    """The samples of this sweep, from sweep.json if it is finished; best first."""
    assert training.validation is not None
    pretrain_backbones(run, run.config)
    held_out = len(training.validation.identities)
    plural = "s" * (run.samples != 1)
    title = f"sweep: {run.samples} sample{plural} on trial {training.trial}"
    file = run.out / "sweep.json"
    space = search_space(training.config) if run.samples > 1 else {}
    own_stage_1 = any(key.startswith("dsgan.") for key in space)
    epochs: dict[str, int] = {
        stage: getattr(run.config, stage).epochs * (run.samples if stage == "reid" or own_stage_1 else 1)
        for stage in training.stages
    }
    name = f"{title}, validated on {held_out} held-out identities"
    with run.step(name, total=run.samples, slots=run.config.sweep.concurrent or 1, epochs=epochs):
        if not file.exists():
            write_json(file, [asdict(sample) for sample in _run_sweep(run, training, space, epochs)])
        return [Sample(**values) for values in read_json(file)]


def _run_sweep(
    run: WorkflowRun, training: TrialTraining, space: Space, epochs: Mapping[str, int]
) -> list[Sample]:
    resources = training.config.resources
    with Display(run.console, resources, run.status.record, epochs) as display:
        samples = sweep(
            SampleJob(training, run.mlflow_run, display.board),
            space,
            config=training.config,
            samples=run.samples,
            storage=run.out / "ray",
            name="sweep",
        )
    run.mlflow_run.close_running_children("FINISHED")  # samples stopped early could not close theirs
    if len(samples) < run.samples:
        run.console.print(
            f"note: {run.samples - len(samples)} of {run.samples} samples failed: see the tag `error` of "
            f"their MLflow runs, and {run.out / 'ray'}"
        )
    return samples


def _print_choice(run: WorkflowRun, choice: Choice) -> None:
    best = choice.best
    run.console.print(
        f"  chosen: {best.name}, validation mAP {100 * best.score:.2f} % at epoch {best.epoch} "
        f"of {run.config.reid.epochs}"
    )
    if len(choice.samples) > 1:
        run.console.print(
            f"  the samples trained {choice.epochs_trained} epochs; without early stopping, "
            f"{choice.epochs_in_full}"
        )
        if doubt := doubt_about(best, run.config):
            run.console.print(f"note: {doubt}", soft_wrap=True)


def doubt_about(best: Sample, config: Config) -> str:
    """Why the best sample may be best by chance; empty if nothing suggests it.

    Scores of the first epochs differ by chance if few identities are held out. So a sample whose best
    epoch came before any sample could be stopped may not be the best configuration.
    """
    if best.epoch > config.sweep.grace_epochs or best.epoch == config.reid.epochs:
        return ""
    return (
        f"{best.name} was best after {best.epoch} of {config.reid.epochs} epochs, before any sample "
        "could be stopped: raise sweep.grace_epochs, or hold out more identities (validation.fraction)"
    )
