"""Results as tables on a terminal; figures in per cent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tsme.config import DatasetName
from tsme.evaluation.results import FIGURES, EvaluationResult, summarise
from tsme.evaluation.spread import Spread

if TYPE_CHECKING:
    from tsme.data.check import CheckReport

NAMES: dict[DatasetName, str] = {
    "regdb": "RegDB",
    "sysu": "SYSU-MM01",
    "llcm": "LLCM",
    "csv": "own data",
}
TITLES = {"rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "rank20": "Rank-20"}


def results_table(dataset: DatasetName, results: Sequence[EvaluationResult]) -> Table:
    """One line per protocol: mean and standard deviation over trials or gallery draws."""
    counts = " or ".join(str(n) for n in sorted({result.test_identities for result in results}))
    table = Table(title=f"{NAMES[dataset]}, {counts} test identities, in %: mean ± standard deviation")
    table.add_column("method")
    table.add_column("protocol", min_width=13)  # fits "single-shot"
    for figure in FIGURES:
        table.add_column(TITLES.get(figure, figure), justify="right")
    table.add_column("over", justify="right")
    for protocol, figures in summarise(results).items():
        group = [result for result in results if result.protocol == protocol]
        cells = [cell(figures[figure]) for figure in FIGURES]
        table.add_row("TSME", protocol.replace("-to-", " to "), *cells, over(group))
    foreign = {r.trial: r for r in results if r.trial != r.model_trial or r.seen_identities}
    table.caption = "; ".join(
        f"trial {r.trial} with weights of trial {r.model_trial}, which were trained on "
        f"{r.seen_identities} of its {r.test_identities} test identities"
        for r in foreign.values()
    )
    return table


def cell(figure: dict[str, Any]) -> str:
    """A figure as "mean ± standard deviation", in per cent."""
    return str(Spread(**figure))


def over(results: Sequence[EvaluationResult]) -> str:
    """Over how many trials a mean is taken, or over how many draws and how they were drawn."""
    draws = {result.draw for result in results if result.draw is not None}
    count, what = (len(draws), "draw") if draws else (len(results), "trial")
    by = "".join(sorted({f" ({result.drawn_by})" for result in results if result.drawn_by}))
    return f"{count} {what}{'s' * (count != 1)}{by}"


def result_lines(label: str, results: Sequence[EvaluationResult]) -> list[str]:
    """Rank-1 and mAP of one trial, for example "trial 01", by protocol; means over gallery draws."""
    return [
        f"  {label}: {protocol.replace('-to-', ' to ')} "
        f"Rank-1 {cell(figures['rank1'])}, mAP {cell(figures['mAP'])}"
        for protocol, figures in summarise(results).items()
    ]


def samples_table(samples: Sequence[tuple[str, Mapping[str, float], float, int, int]]) -> Table:
    """One line per sweep sample: name, best validation mAP, its epoch, epochs trained, and settings."""
    table = Table(title="sweep, best sample first")
    table.add_column("sample")
    table.add_column("validation mAP %", justify="right")
    table.add_column("at epoch", justify="right")
    keys = list(samples[0][1])
    for key in keys:
        table.add_column(key.replace(".", ".\u200b"), justify="right")  # may break after a dot
    for name, values, score, epoch, epochs in samples:
        table.add_row(
            name, f"{100 * score:.2f}", f"{epoch} of {epochs}", *(f"{values[key]:.4g}" for key in keys)
        )
    return table


def check_tables(report: CheckReport) -> list[Table]:
    """Tables of what each trial and camera holds and, for several trials, of shared identities."""
    sizes = report.sizes
    title = f"{report.identities} identities, {report.images} images"
    if sizes is not None:
        title += f" of {sizes.min_width}-{sizes.max_width} x {sizes.min_height}-{sizes.max_height} pixels"
    counts = Table(title=title)
    for column in (
        "trial",
        "training identities",
        "visible",
        "infrared",
        "test identities",
        "visible",
        "infrared",
    ):
        counts.add_column(column, justify="right")
    for trial in report.trials:
        numbers = [trial.number]
        for split in (trial.train, trial.test):
            numbers += [split.identities, split.visible, split.infrared]
        counts.add_row(*map(str, numbers))
    return [counts, _cameras_table(report), *([_seen_table(report)] if len(report.trials) > 1 else [])]


def _cameras_table(report: CheckReport) -> Table:
    table = Table(title="cameras, over all trials")
    for column in ("camera", "modality", "identities", "images"):
        table.add_column(column, justify="right")
    for one in report.cameras:
        table.add_row(str(one.camera), one.modality, str(one.identities), str(one.images))
    return table


def _seen_table(report: CheckReport) -> Table:
    table = Table(
        title="test identities of a trial (row) among the training identities of a trial (column)"
    )
    present = [trial.number for trial in report.trials]
    for number in ("", *map(str, present)):
        table.add_column(number, justify="right")
    for row in present:
        table.add_row(str(row), *(str(report.seen[row, column]) for column in present))
    return table
