"""`tsme train`, `tsme sweep` and `tsme ablate`: training on one trial."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

from tsme.errors import UserError
from tsme.storage.object_store import any_path
from workflows.cli.options import (
    DataOption,
    DatasetOption,
    PresetOption,
    ResumeOption,
    SetOption,
    StageChoice,
    build_config,
    existing_data,
)
from workflows.cli.output import console, print_table


def train(
    dataset: DatasetOption,
    data: DataOption,
    stage: Annotated[
        StageChoice, typer.Option(help="reid needs dsgan's result in --out.")
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
    """Train one trial on all of its training identities; evaluate it on its test identities."""
    from tsme.config import override

    settings: dict[str, Any] = {}
    if lr is not None:
        settings["reid.optimizer.lr"] = lr
    if gpus is not None:
        settings |= {"resources.workers": max(1, gpus), "resources.gpus": min(1, gpus)}
    config, source = override(build_config(preset or dataset, set_), settings), existing_data(data)
    from workflows.pipeline import train_and_measure
    from workflows.run import open_run

    with open_run(
        config,
        source,
        any_path(out or f"runs/train-{dataset}-{trial:02d}"),
        name=f"train {dataset}",
        trials=[trial],
        resume=resume,
        console=console,
    ) as run:
        chain = run.chain(run.config, trial)
        there = "dsgan" not in chain.stages or chain.generators_file.is_file()
        if stage is StageChoice.reid and not there:
            raise UserError(
                f"--stage reid: {run.out} holds no generators yet; run --stage dsgan --resume before"
            )
        file, rows = train_and_measure(run, only_generators=stage is StageChoice.dsgan)
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
    """Search learning rates and loss weights on held-out training identities."""
    config, source = build_config(preset, set_), existing_data(data)
    from tsme.report.tables import samples_table
    from workflows.run import open_run
    from workflows.steps.sweep import choose

    with open_run(
        config,
        source,
        any_path(out or f"runs/sweep-{preset}"),
        name=f"sweep {preset}",
        trials=[trial],
        resume=resume,
        console=console,
        samples=samples,
    ) as run:
        choice = choose(run)
    console.print(samples_table([(s.name, s.values, s.score, s.epoch, s.epochs) for s in choice.samples]))
    best = choice.samples[0]
    won = best.values | {"reid.epochs": best.epoch}
    settings = [setting for setting in set_ if setting.partition("=")[0] not in won]
    settings += [f"{key}={value}" for key, value in won.items()]
    try:
        build_config(preset, settings)
    except UserError as problem:  # it was best before its warm-up was over
        console.print(f"note: {best.name} cannot be taken over as it is: {problem}", soft_wrap=True)
        return
    command = ["tsme", "run", "--preset", preset, "--data", data]
    command += [word for setting in settings for word in ("--set", setting)]
    console.print(f"all trials with the values of {best.name}:")
    console.print(shlex.join(command), soft_wrap=True, markup=False, highlight=False)


def ablate(
    preset: PresetOption,
    data: DataOption,
    seeds: Annotated[int, typer.Option(min=1, help="Each variant is trained so often.")] = 3,
    trial: Annotated[int, typer.Option(help="Trial whose people are used.")] = 1,
    sweep: Annotated[
        int, typer.Option(min=0, help="Samples of a sweep whose winner is a variant too; 0 for none.")
    ] = 0,
    set_: SetOption = [],  # noqa: B006
    out: Annotated[str, typer.Option(metavar="DIR|URI", help="Default: runs/ablate-PRESET.")] = "",
    resume: ResumeOption = False,
) -> None:
    """What each part adds: baseline, PwIF, IAI, the stronger recipe; how good the generators are."""
    config, source = build_config(preset, set_), existing_data(data)
    from workflows.ablation import run_ablation
    from workflows.run import open_run

    with open_run(
        config,
        source,
        any_path(out or f"runs/ablate-{preset}"),
        name=f"ablate {preset}",
        trials=[trial],
        resume=resume,
        console=console,
        samples=sweep,
    ) as run:
        run_ablation(run, seeds, sweep=sweep > 0)
