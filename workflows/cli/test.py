"""`tsme test`: evaluate trained weights."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tsme.errors import UserError
from tsme.storage.object_store import any_path
from workflows.cli.options import (
    DataOption,
    DatasetChoice,
    DatasetOption,
    ModeChoice,
    ShotsChoice,
    existing_data,
)
from workflows.cli.output import console, print_results


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
    mode: Annotated[ModeChoice | None, typer.Option(help="SYSU-MM01's gallery; default: both.")] = None,
    shots: Annotated[ShotsChoice | None, typer.Option(help="SYSU-MM01's gallery; default: both.")] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Also average with mirrored images.")] = False,
    rerank: Annotated[bool, typer.Option("--rerank", help="Also re-rank, k-reciprocal.")] = False,
    cross_trial: Annotated[
        bool, typer.Option("--cross-trial", help="Allow weights of another trial; the table says so.")
    ] = False,
    json: Annotated[str, typer.Option(metavar="FILE|URI", help="Also write the figures here.")] = "",
) -> None:
    """Evaluate trained weights by their data set's protocol.

    Only test identities are used.
    """
    from tsme.config import EvaluationConfig
    from tsme.storage.atomic import write_json

    if dataset is not DatasetChoice.sysu and (mode or shots):
        raise UserError(f"--{'mode' if mode else 'shots'}: only SYSU-MM01 has it, not {dataset}")
    settings: dict[str, Any] = {"flip": flip, "rerank": rerank}
    settings |= {"modes": [mode]} if mode else {}
    settings |= {"shots": [shots]} if shots else {}
    if dataset in (DatasetChoice.sysu, DatasetChoice.llcm) and trial is not None:
        if trial not in range(10):
            raise UserError(f"--trial {trial}: the gallery draws of {dataset} are 0 to 9")
        settings["draws"], trial = [trial], None
    evaluation, file = EvaluationConfig.model_validate(settings), any_path(json) if json else None
    source = existing_data(data)
    from workflows.evaluate_weights import evaluate_weights

    results = evaluate_weights(
        dataset.value, source, resume, trial, evaluation, cross_trial=cross_trial, console=console
    )
    if file is not None:
        write_json(file, results)
    if results["trained_on"] != results["data_fingerprint"]:
        console.print(
            "note: the weights were trained on other data, where the same number may be another identity",
            soft_wrap=True,
        )
    print_results(results, None)
