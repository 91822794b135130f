"""The configuration: chosen by a sweep on held-out training identities of the first trial."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from tsme.config import Config, override
from tsme.data.types import hold_out
from tsme.errors import JobFailed
from tsme.storage.atomic import read_json, write_json
from tsme.training.trial import TrialTraining
from tune.spaces import search_space
from tune.sweep import Sample, sweep
from workflows.progress import Display
from workflows.run import WorkflowRun
from workflows.spells import Spell
from workflows.steps.pretrain import pretrain_backbones
from workflows.steps.sample import SampleJob


@dataclass(frozen=True)
class Choice:
    """The configuration the sweep chose, its validation score, and the people that measured it.

    `epochs_in_full` is what all samples would have trained if none had been stopped early.
    """

    config: Config
    samples: list[Sample]
    validation_set: str
    epochs_in_full: int

    @property
    def epochs(self) -> int:
        """What all samples trained together."""
        return sum(sample.epochs for sample in self.samples)

    @property
    def score(self) -> float:
        """Validation mAP in [0, 1]."""
        return self.samples[0].score


def choose(run: WorkflowRun) -> Choice:
    """Sweep on the first trial: part of its training identities measure what the others taught.

    Every sample trains with one worker. Raises JobFailed if none learnt anything.
    """
    samples = run.samples
    number, trial = next(iter(run.trials.items()))
    config = run.config
    train, held = hold_out(trial, config.validation.fraction, config.seed)
    alone = config.model_copy(update={"resources": config.resources.model_copy(update={"workers": 1})})
    chain = TrialTraining(alone, number, train, held, run.pixels, run.out / "stages")
    pretrain_backbones(run, config)
    if config.resources.workers > 1:
        run.console.print(
            f"note: samples train with one worker; {config.resources.workers} workers make batches "
            "that many times larger, for which the chosen learning rates may not be best"
        )
    title = f"choose: {samples} of the sweep's samples on trial {number}, "
    title += f"measured on {len(held.identities)} held-out identities"
    file = run.out / "sweep.json"
    with run.step(title) as spells:
        if not file.exists():
            write_json(file, [asdict(sample) for sample in _run_sweep(run, chain, samples, spells)])
        tried = [Sample(**values) for values in read_json(file)]
    best = tried[0]
    if best.epoch == 0:
        raise JobFailed("every sample of the sweep diverged: lower reid.optimizer.lr")
    chosen = override(config, best.values | {"reid.epochs": best.epoch})
    run.mlflow_run.tag({"sweep.best": best.name})
    run.mlflow_run.log_metrics({"validation_mAP": best.score, "chosen_epochs": best.epoch})
    run.console.print(
        f"  chosen: {best.name}, validation mAP {100 * best.score:.2f} % at epoch {best.epoch}"
    )
    full = len(tried) * config.reid.epochs
    people = config.digest("dataset", data=run.pixels.fingerprint, trial=number, people=held.identities)
    choice = Choice(chosen, tried, people, full)
    if len(tried) > 1:
        run.console.print(f"  {choice.epochs} epochs trained of {full} that all samples have")
        if doubt := doubt_of(best, config):
            run.console.print(f"note: {doubt}", soft_wrap=True)
    return choice


def doubt_of(best: Sample, config: Config) -> str:
    """Why a sweep's winner may owe its place to chance, if so.

    A sample that is best before any other could be stopped has not been told from them by learning: the
    scores of first epochs differ by the luck of few people.
    """
    if best.epoch > config.sweep.grace_epochs or best.epoch == config.reid.epochs:
        return ""
    return (
        f"{best.name} was best after {best.epoch} of {config.reid.epochs} epochs, before any sample "
        "could be stopped: set a higher sweep.grace_epochs, or hold out more people (validation.fraction)"
    )


def _run_sweep(run: WorkflowRun, chain: TrialTraining, samples: int, spells: list[Spell]) -> list[Sample]:
    with Display(run.console, chain.config.resources) as display:
        tried = sweep(
            SampleJob(chain, run.mlflow_run, display.board),
            search_space(chain.config) if samples > 1 else {},
            config=chain.config,
            samples=samples,
            storage=run.out / "ray",
            name="sweep",
        )
    spells += display.spells
    run.mlflow_run.close_running_children("FINISHED")  # samples stopped early could not
    if len(tried) < samples:
        failed = f"note: {samples - len(tried)} of {samples} samples failed"
        run.console.print(f"{failed}: see the tag error of their MLflow runs, and {run.out / 'ray'}")
    return tried
