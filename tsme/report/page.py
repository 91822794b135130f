"""report.html: one page without scripts that holds everything it shows.

It is made from the files of a finished run alone. What is missing is left out, and the page says so.
"""

from __future__ import annotations

import json
from typing import Any

from tsme.config import Config
from tsme.evaluation.results import FIGURES, EvaluationResult, summarise
from tsme.report import charts
from tsme.report.published import PUBLISHED, SOURCE, TEST_IDENTITIES
from tsme.report.run_folder import RunFolder, TrainingHistory, read_run
from tsme.report.tables import NAMES, TITLES, cell, over
from tsme.report.wording import duration
from tsme.settings import flatten
from tsme.storage.atomic import replacing
from tsme.storage.object_store import AnyPath

PAGE = "report.html"


def write_page(folder: AnyPath) -> AnyPath:
    """Write report.html of the run in `folder`; returns its path.

    Raises UserError if the folder holds no finished run, or if a file in it is damaged.
    """
    text = render(read_run(folder))
    file = folder / PAGE
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return file


def render(run: RunFolder) -> str:
    """The page as HTML. Every text of the run is escaped: names of files and identities are data."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tsme.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "duration": duration, "setting": _setting}
    return environment.get_template("report.html.j2").render(
        results=run.results,
        inspection=run.inspection,
        name=NAMES[run.results["dataset"]],
        titles=[TITLES.get(figure, figure) for figure in FIGURES],
        figures=FIGURES,
        lede=_lede(run),
        headline=_headline(run.rows),
        published=_published(run),
        rows=_by_protocol(run.rows),
        readable=readable,
        cmc=_cmc_charts(run.rows),
        training=_training_charts(run.history),
        sweep=_sweep(run),
        distances=_distance_charts(run),
        embedding_map=charts.map_chart(run.inspection.map, "map") if run.inspection else None,
        timeline=charts.timeline_chart(run.history, "timeline") if run.history else None,
        places=sorted({each.place for each in run.history if each.place}),
        config=flatten(run.results["config"]),
        defaults=flatten(Config().model_dump(mode="json")),
    )


def readable(protocol: str) -> str:
    """A protocol's name as it is written in tables."""
    return protocol.replace("-to-", " to ")


def _setting(value: Any) -> str:
    """A configuration value as `--set` takes it: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _lede(run: RunFolder) -> dict[str, Any]:
    """Sentences about the run as a whole."""
    rows, samples = run.rows, len(run.results["validation"]["samples"])
    trials, draws = len({row.trial for row in rows}), len({row.draw for row in rows} - {None})
    identities = " or ".join(map(str, sorted({row.test_identities for row in rows})))
    weights = f"{trials} trials, each with weights of its own," if trials > 1 else "One trial"
    text = f"{weights} of {identities} test identities"
    if draws:
        text += f", in {draws} drawn galler{'y' if draws == 1 else 'ies'}"
    return {
        "title": f"{_data_name(run)}, {_count(trials, 'trial')}",
        "text": f"{text}. {_sweep_sentence(run)}",
        "notes": _notes(rows),
        "importance": f"{samples} samples are too few to tell how important each parameter is.",
    }


def _sweep_sentence(run: RunFolder) -> str:
    validation = run.results["validation"]
    samples, score = len(validation["samples"]), _percent(validation["mAP"])
    if samples == 1:
        return (
            "The configuration was taken as it is, without a sweep; on held-out training identities it "
            f"reached a validation mAP of {score} %."
        )
    trained, full = validation["epochs_trained"], validation["epochs_in_full"]
    saved = f"; bad ones were stopped early, after {trained} of {full} epochs in all" * (trained < full)
    return (
        f"The configuration is the best of {samples} on held-out training identities, with a validation "
        f"mAP of {score} %{saved}."
    )


def _data_name(run: RunFolder) -> str:
    """The data set's name, or that of its layout if the data cannot be the published ones."""
    dataset = run.results["dataset"]
    known = TEST_IDENTITIES.get(dataset)
    other_data = known is not None and {row.test_identities for row in run.rows} != {known}
    return f"Data in {NAMES[dataset]}'s layout" if other_data else NAMES[dataset]


def _notes(rows: list[EvaluationResult]) -> list[str]:
    """What a reader of the headline table has to know."""
    fewest = min(row.test_identities for row in rows)
    notes = [f"Guessing an identity gives a Rank-1 of about 1 / {fewest} = {100 / fewest:.1f} %."]
    skipped = sum(row.skipped_queries for row in rows)
    if skipped:
        notes.append(f"{skipped} queries without a match in their gallery are not counted.")
    foreign = {row.trial: row.seen_identities for row in rows if row.seen_identities}
    for trial, seen in foreign.items():
        notes.append(f"Trial {trial} was evaluated with weights that have seen {seen} of its identities.")
    return notes


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _headline(rows: list[EvaluationResult]) -> list[dict[str, Any]]:
    """A line per protocol: its figures as "mean ± deviation" in per cent, and what they are over."""
    return [
        {
            "protocol": readable(protocol),
            "cells": [cell(figures[figure]) for figure in FIGURES],
            "over": over([row for row in rows if row.protocol == protocol]),
        }
        for protocol, figures in summarise(rows).items()
    ]


def _by_protocol(rows: list[EvaluationResult]) -> list[EvaluationResult]:
    """The rows of the first protocol, then those of the second, and so on."""
    order = list(dict.fromkeys(row.protocol for row in rows))
    return sorted(rows, key=lambda row: order.index(row.protocol))


def _published(run: RunFolder) -> dict[str, Any] | None:
    """The original's figures if the data can be those they were measured on; else why there are none."""
    dataset = run.results["dataset"]
    if dataset not in PUBLISHED:
        return None
    counts = sorted({row.test_identities for row in run.rows})
    if counts != [TEST_IDENTITIES[dataset]]:
        return {"lines": [], "identities": TEST_IDENTITIES[dataset], "here": counts}
    lines = [
        {"protocol": readable(name), "rank1": rank1, "mAP": mAP}
        for name, (rank1, mAP) in PUBLISHED[dataset].items()
    ]
    return {"lines": lines, "source": SOURCE}


def _cmc_charts(rows: list[EvaluationResult]) -> list[Any]:
    """A chart per protocol, for rows that have curves of one length."""
    grouped: dict[str, list[EvaluationResult]] = {}
    for row in rows:
        grouped.setdefault(row.protocol, []).append(row)
    drawn = []
    for number, (protocol, group) in enumerate(grouped.items()):
        length = min(len(row.cmc) for row in group)
        if length:
            cut = [EvaluationResult(**{**row.to_json(), "cmc": row.cmc[:length]}) for row in group]
            drawn.append(charts.cmc_chart(readable(protocol), cut, f"cmc{number}"))
    return drawn


def _training_charts(history: list[TrainingHistory]) -> list[Any]:
    """Losses of the trials' trainings, a chart per stage."""
    stages = {"stage 0": "First weights", "stage 1": "Stage 1, generators", "stage 2": "Stage 2, re-ID"}
    drawn = []
    for number, (stage, title) in enumerate(stages.items()):
        trainings = [each for each in history if stage in each.name]
        if trainings:
            drawn.append(charts.losses_chart(title, trainings, f"stage{number}"))
    return drawn


def _sweep(run: RunFolder) -> dict[str, Any]:
    samples = run.results["validation"]["samples"]
    full = run.results["config"]["reid"]["epochs"]
    curves = [each for each in run.history if "val_mAP" in each.curves]
    chosen = samples[0]["name"]
    return {
        "samples": samples,
        "keys": list(samples[0]["values"]),
        "full": full,
        "stopped": [sample for sample in samples if sample["epochs"] < full],
        "curves": charts.validation_chart(curves, chosen, "validation") if curves else None,
        "chart": charts.sweep_chart(samples, "sweep") if len(samples) > 1 else None,
        "importance": run.results["validation"].get("importance"),
    }


def _distance_charts(run: RunFolder) -> list[Any]:
    if run.inspection is None:
        return []
    distances = run.inspection.distances
    titles = {
        "visible and infrared": "Across: visible and infrared",
        "visible": "Within: visible",
        "infrared": "Within: infrared",
    }
    return [
        charts.distances_chart(titles[name], distances.edges, histogram, f"distances{number}")
        for number, (name, histogram) in enumerate(distances.histograms.items())
    ]
