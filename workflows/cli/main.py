"""The `tsme` command. Exit status: 0 success, 1 a failed job, 2 bad usage or bad input."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from tsme.config import DatasetName, override
from tsme.errors import JobFailed, UserError
from tsme.storage.object_store import AnyPath, any_path
from workflows.cli.data import DatasetChoice, data_app
from workflows.cli.options import (
    DataOption,
    DatasetOption,
    ModeName,
    PresetOption,
    ResumeOption,
    SetOption,
    ShotsName,
    StageName,
    configured,
    parse_trials,
)
from workflows.cluster import environment

if TYPE_CHECKING:
    from tsme.evaluation.evaluator import Row

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Visible-infrared person re-identification by two-stage modality enhancement.",
)
app.add_typer(data_app, name="data")
# Where nobody set a width (a file, a job's log), tables are not squeezed.
console = Console(width=None if sys.stdout.isatty() else 140)
INTERRUPTED = 130  # what typer makes of Ctrl-C


@app.command()
def demo(
    out: Annotated[
        str, typer.Option(metavar="DIR|URI", help="Folder of data and results.")
    ] = "runs/demo",
) -> None:
    """The whole workflow on generated data, with a small network: minutes on two CPU cores.

    Started again with the same --out, it continues there.
    """
    from workflows.cli.demo import run_demo

    folder = any_path(out)
    _print_results(run_demo(folder, console), folder)


@app.command()
def run(
    preset: PresetOption,
    data: DataOption,
    trials: Annotated[str, typer.Option(help="Such as 1-10 or 1,3; all there are by default.")] = "",
    sweep: Annotated[int, typer.Option(min=0, help="Samples to try first; 0 keeps the preset.")] = 0,
    set_: SetOption = [],  # noqa: B006 - typer copies it
    out: Annotated[str, typer.Option(metavar="DIR|URI", help="Default: runs/PRESET.")] = "",
    resume: ResumeOption = False,
) -> None:
    """Sweep, train every trial, register, evaluate: from a data set to a champion."""
    from workflows.pipeline import run_workflow
    from workflows.run import open_run

    config, folder = configured(preset, set_), any_path(out or f"runs/{preset}")
    with open_run(
        config,
        any_path(data),
        folder,
        name=f"run {preset}",
        trials=parse_trials(trials),
        resume=resume,
        console=console,
        samples=sweep,
    ) as run:
        results = run_workflow(run)
    _print_results(results, folder)


@app.command()
def train(
    dataset: DatasetOption,
    data: DataOption,
    stage: Annotated[StageName, typer.Option(help="reid needs dsgan's result in --out.")] = StageName.all,
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
    """Train one trial with Ray Train on all of its training identities; measure it on its test identities."""
    from workflows.pipeline import train_and_measure
    from workflows.run import open_run

    settings: dict[str, Any] = {}
    if lr is not None:
        settings["reid.optimizer.lr"] = lr
    if gpus is not None:
        settings |= {"resources.workers": max(1, gpus), "resources.gpus": min(1, gpus)}
    config = override(configured(preset or dataset, set_), settings)
    with open_run(
        config,
        any_path(data),
        any_path(out or f"runs/train-{dataset}-{trial:02d}"),
        name=f"train {dataset}",
        trials=[trial],
        resume=resume,
        console=console,
    ) as run:
        chain = run.chain(run.config, trial)
        there = "dsgan" not in chain.stages or chain.generators_file.is_file()
        if stage is StageName.reid and not there:
            raise UserError(
                f"--stage reid: {run.out} holds no generators yet; run --stage dsgan --resume before"
            )
        file, rows = train_and_measure(run, only_generators=stage is StageName.dsgan)
    if rows:
        _print_table(dataset.value, rows)
    console.print(f"{file}", soft_wrap=True)


@app.command()
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
    from tsme.report.tables import samples_table
    from workflows.run import open_run
    from workflows.steps.sweep import choose

    with open_run(
        configured(preset, set_),
        any_path(data),
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
        configured(preset, settings)
    except UserError as problem:  # it was best before its warm-up was over
        console.print(f"note: {best.name} cannot be taken over as it is: {problem}", soft_wrap=True)
        return
    command = ["tsme", "run", "--preset", preset, "--data", data]
    command += [word for setting in settings for word in ("--set", setting)]
    console.print(f"all trials with the values of {best.name}:")
    console.print(shlex.join(command), soft_wrap=True, markup=False, highlight=False)


@app.command()
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
    from workflows.ablation import run_ablation
    from workflows.run import open_run

    with open_run(
        configured(preset, set_),
        any_path(data),
        any_path(out or f"runs/ablate-{preset}"),
        name=f"ablate {preset}",
        trials=[trial],
        resume=resume,
        console=console,
        samples=sweep,
    ) as run:
        run_ablation(run, seeds, sweep=sweep > 0)


@app.command()
def test(
    dataset: DatasetOption,
    data: DataOption,
    resume: Annotated[
        str,
        typer.Option(help="Weights: a file, folder or URI, or models:/NAME@ALIAS of the registry."),
    ],
    trial: Annotated[
        int | None, typer.Option(help="RegDB: one trial. SYSU-MM01, LLCM: one gallery draw, 0 to 9.")
    ] = None,
    mode: Annotated[ModeName | None, typer.Option(help="SYSU-MM01's gallery; default: both.")] = None,
    shots: Annotated[ShotsName | None, typer.Option(help="SYSU-MM01's gallery; default: both.")] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Also average with mirrored images.")] = False,
    rerank: Annotated[bool, typer.Option("--rerank", help="Also re-rank, k-reciprocal.")] = False,
    cross_trial: Annotated[
        bool, typer.Option("--cross-trial", help="Allow weights of another trial; the table says so.")
    ] = False,
    json: Annotated[str, typer.Option(metavar="FILE|URI", help="Also write the figures here.")] = "",
) -> None:
    """Evaluate trained weights by their data set's protocol, on test identities only."""
    from tsme.config import EvaluationConfig
    from tsme.storage.atomic import write_json
    from workflows.evaluate_weights import test_weights

    if dataset is not DatasetChoice.sysu and (mode or shots):
        raise UserError(f"--{'mode' if mode else 'shots'}: SYSU-MM01 alone has it, not {dataset}")
    chosen: dict[str, Any] = {"flip": flip, "rerank": rerank}
    chosen |= {"modes": [mode]} if mode else {}
    chosen |= {"shots": [shots]} if shots else {}
    if dataset in (DatasetChoice.sysu, DatasetChoice.llcm) and trial is not None:
        if trial not in range(10):
            raise UserError(f"--trial {trial}: the gallery draws of {dataset} are 0 to 9")
        chosen["draws"], trial = [trial], None
    evaluation, figures = EvaluationConfig.model_validate(chosen), any_path(json) if json else None
    results = test_weights(
        dataset.value, any_path(data), resume, trial, evaluation, cross_trial=cross_trial, console=console
    )
    if figures is not None:
        write_json(figures, results)
    if results["trained_on"] != results["data_fingerprint"]:
        console.print(
            "note: other data than these weights were trained on; identities may mean other people"
        )
    _print_results(results, None)


def _print_table(dataset: DatasetName, rows: list[Row]) -> None:
    from tsme.report.tables import results_table

    console.print(results_table(dataset, rows))


def _print_results(results: dict[str, Any], out: AnyPath | None) -> None:
    from tsme.evaluation.evaluator import Row

    _print_table(results["dataset"], [Row(**row) for row in results["trials"]])
    if out is not None:
        console.print(f"figures: {out / 'results.json'}", soft_wrap=True)
        console.print(f"weights: {out / 'stages'}", soft_wrap=True)
        store = results["mlflow_uri"]
        look = store if store.startswith("http") else f"mlflow ui --backend-store-uri {store}"
        console.print(f"runs, curves, pictures: {look}", soft_wrap=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors that the user can mend are one line on standard error."""
    environment.prepare()
    try:
        status = app(arguments, standalone_mode=False)
    except UserError as error:
        _fail(str(error), 2)
    except JobFailed as error:
        _fail(str(error), 1)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        # A usage error of typer's own (its exception types are not public).
        _fail(error.format_message() or "which command? --help lists them", 2)
    if status == INTERRUPTED:
        _fail("interrupted; what was finished is kept, and a run goes on with --resume", INTERRUPTED)
    sys.exit(status)


def _fail(message: str, status: int) -> NoReturn:
    print(f"tsme: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)
