"""`tsme train`, `tsme sweep` and `tsme ablate`: training on one trial."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from workflows.cli.options import (
    DataOption,
    DatasetOption,
    PresetOption,
    ResumeOption,
    SetOption,
    StageChoice,
    run_options,
)
from workflows.cli.output import console, print_table


def train(
    dataset: DatasetOption,
    data: DataOption,
    stage: Annotated[
        StageChoice, typer.Option(help="reid needs the result of dsgan in --out.")
    ] = StageChoice.all,
    trial: Annotated[int, typer.Option(help="Trial to train.")] = 1,
    lr: Annotated[
        float | None, typer.Option(help="Learning rate of the re-identification stage.")
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="Workers, each with a GPU; 0 for CPU.")] = None,
    preset: Annotated[str, typer.Option(help="Default: the one named as the data set.")] = "",
    set_: SetOption = [],  # noqa: B006
    out: Annotated[str, typer.Option(metavar="DIR|URI", help="Default: runs/train-DATASET-TRIAL.")] = "",
    resume: ResumeOption = False,
) -> None:
    """Train one trial on all of its training identities.

    After stage 2, evaluate it on its test identities.
    """
    settings = list(set_)
    if lr is not None:
        settings.append(f"reid.optimizer.lr={lr}")
    if gpus is not None:
        settings += [f"resources.workers={max(1, gpus)}", f"resources.gpus={min(1, gpus)}"]
    folder = out or f"runs/train-{dataset}-{trial:02d}"
    options = run_options(
        f"train {dataset}", preset or dataset, settings, data, folder, trials=[trial], resume=resume
    )
    from workflows.pipeline import train_and_evaluate

    file, rows = train_and_evaluate(options, stage.value, console)
    if rows:
        print_table(dataset.value, rows)
    console.print(f"{file}", soft_wrap=True)


def sweep(
    preset: PresetOption,
    data: DataOption,
    samples: Annotated[int, typer.Option(min=1, help="Configurations to try.")],
    trial: Annotated[int, typer.Option(help="Trial whose training identities are used.")] = 1,
    set_: SetOption = [],  # noqa: B006
    out: Annotated[str, typer.Option(metavar="DIR|URI", help="Default: runs/sweep-PRESET.")] = "",
    resume: ResumeOption = False,
) -> None:
    """Search learning rates and loss weights.

    Samples are compared on held-out training identities.
    """
    name, folder = f"sweep {preset}", out or f"runs/sweep-{preset}"
    options = run_options(
        name, preset, set_, data, folder, trials=[trial], samples=samples, resume=resume
    )
    from tsme.report.tables import samples_table
    from workflows.run import open_run
    from workflows.steps.sweep import choose_configuration

    with open_run(options, console) as run:
        choice = choose_configuration(run)
    console.print(samples_table([(s.name, s.values, s.score, s.epoch, s.epochs) for s in choice.samples]))
    best = choice.best
    settings = [setting for setting in set_ if setting.partition("=")[0] not in best.values]
    settings += [f"{key}={value}" for key, value in best.values.items()]
    command = ["tsme", "run", "--preset", preset, "--data", data]
    command += [word for setting in settings for word in ("--set", setting)]
    console.print(f"to train all trials with the values of {best.name}:")
    console.print(shlex.join(command), soft_wrap=True, markup=False, highlight=False)


def ablate(
    preset: PresetOption,
    data: DataOption,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds to train each variant with.")] = 3,
    trial: Annotated[int, typer.Option(help="Trial to train and test on.")] = 1,
    sweep: Annotated[
        int, typer.Option(min=0, help="Samples of a sweep whose best is a variant too; 0 for none.")
    ] = 0,
    set_: SetOption = [],  # noqa: B006
    out: Annotated[str, typer.Option(metavar="DIR|URI", help="Default: runs/ablate-PRESET.")] = "",
    resume: ResumeOption = False,
) -> None:
    """Measure what each part of the method adds.

    Compares the baseline, grayscale copies, PwIF, IAI and the stronger recipe, and the quality of the
    generators.
    """
    name, folder = f"ablate {preset}", out or f"runs/ablate-{preset}"
    options = run_options(name, preset, set_, data, folder, trials=[trial], samples=sweep, resume=resume)
    from workflows.ablation import run_ablation

    run_ablation(options, seeds, console)
