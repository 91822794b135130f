"""An ablation's figures over seeds: means and spreads, paired differences, a table and a picture."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from tsme.evaluation.results import EvaluationResult
from tsme.evaluation.spread import Spread

FIGURES = ("rank1", "mAP", "mINP")
TITLES = {"rank1": "Rank-1", "mAP": "mAP", "mINP": "mINP"}


class Gain(NamedTuple):
    """What a variant adds to another, or takes from it: the spread of differences between equal seeds.

    `clear` if the mean difference is larger than its own deviation over seeds and than either variant's;
    None of a single seed, which has none.
    """

    difference: Spread
    clear: bool | None

    def __str__(self) -> str:
        if self.clear is None:
            return ""
        return ("gain" if self.difference.mean > 0 else "loss") if self.clear else "within the spread"


class Line(NamedTuple):
    """A variant in one protocol: its figures, and what it gains over the one it is compared with."""

    variant: str
    protocol: str
    figures: dict[str, Spread]
    over: str | None
    gains: dict[str, Gain]

    def to_json(self) -> dict[str, Any]:
        """As it stands in ablation.json."""
        gains = {
            f: {"mean": gain.difference.mean, "std": gain.difference.std, "clear": gain.clear}
            for f, gain in self.gains.items()
        }
        figures = {f: spread._asdict() for f, spread in self.figures.items()}
        return self._asdict() | {"figures": figures, "gains": gains}


def compare(
    samples: Mapping[str, Sequence[list[EvaluationResult]]], over: Mapping[str, str | None]
) -> list[Line]:
    """A line per protocol and variant; `samples` are the rows of each seed, by variant, seeds in order.

    Flipped and re-ranked figures of a variant, which the one it is compared with may lack, are compared
    with nothing.
    """
    protocols = dict.fromkeys(r.protocol for seeds in samples.values() for rows in seeds for r in rows)
    values = {
        (variant, protocol): {f: [_mean(rows, protocol, f) for rows in seeds] for f in FIGURES}
        for protocol in protocols
        for variant, seeds in samples.items()
        if any(row.protocol == protocol for row in seeds[0])
    }
    lines = []
    for (variant, protocol), figures in values.items():
        base = values.get((over[variant] or "", protocol))
        gains = {} if base is None else {f: _gain(figures[f], base[f]) for f in FIGURES}
        spreads = {f: Spread.of(figures[f]) for f in FIGURES}
        lines.append(Line(variant, protocol, spreads, over[variant] if gains else None, gains))
    return lines


def _mean(rows: Sequence[EvaluationResult], protocol: str, figure: str) -> float:
    """Over gallery draws, where there are several."""
    return float(np.mean([getattr(row, figure) for row in rows if row.protocol == protocol]))


def _gain(ours: Sequence[float], theirs: Sequence[float]) -> Gain:
    difference = Spread.of([a - b for a, b in zip(ours, theirs, strict=True)])
    spreads = [s.std for s in (difference, Spread.of(ours), Spread.of(theirs)) if s.std is not None]
    return Gain(difference, abs(difference.mean) > max(spreads) if spreads else None)


def ablation_table(lines: Sequence[Line], seeds: int) -> Table:
    """Figures in %, and beneath each what it adds where seeds are equal."""
    table = Table(title=f"test identities, in %: mean ± standard deviation over {seeds} seeds")
    for title in ("protocol", "variant", *(TITLES[f] for f in FIGURES), "adds to", "Rank-1", "mAP", ""):
        table.add_column(title, justify="right" if title in TITLES.values() else "left")
    for protocol, group in itertools.groupby(lines, key=lambda line: line.protocol):
        for number, line in enumerate(group):
            gained = ["", "", ""]
            if line.gains:
                gained = [f"{line.gains[f].difference.mean * 100:+.2f}" for f in ("rank1", "mAP")]
                spread = line.gains["mAP"].difference.std
                gained[1] += "" if spread is None else f" ± {100 * spread:.2f}"
                gained.append(str(line.gains["mAP"]))
            name = protocol.replace("-to-", " to ") if number == 0 else ""
            cells = [str(line.figures[f]) for f in FIGURES]
            table.add_row(name, line.variant, *cells, line.over or "", *gained)
        table.add_section()
    return table


def ablation_plot(
    samples: Mapping[str, Sequence[list[EvaluationResult]]], lines: Sequence[Line], file: Path
) -> None:
    """mAP of each variant as a PNG: a point per seed, joined where seeds are equal, and the mean."""
    from matplotlib.figure import Figure  # half a second, which only this needs

    plain = [line for line in lines if " with " not in line.protocol]
    protocols = list(dict.fromkeys(line.protocol for line in plain))
    figure = Figure(figsize=(1 + 3.6 * len(protocols), 3.6), layout="constrained")
    axes = figure.subplots(1, len(protocols), sharey=True, squeeze=False)[0]
    names = list(samples)
    for ax, protocol in zip(axes, protocols, strict=True):
        seeds = np.array([[_mean(rows, protocol, "mAP") for rows in samples[name]] for name in names])
        ax.plot(names, 100 * seeds, color="0.75", marker=".", linewidth=1)
        spreads = {line.variant: line.figures["mAP"] for line in plain if line.protocol == protocol}
        means = [100 * spreads[name].mean for name in names]
        stds = [100 * (spreads[name].std or 0) for name in names]
        ax.errorbar(names, means, stds, color="C0", marker="o", capsize=4, linewidth=2)
        ax.set_title(protocol.replace("-to-", " to "), fontsize=10)
        ax.tick_params(axis="x", labelrotation=20)
        ax.grid(axis="y", color="0.9")
    axes[0].set_ylabel("mAP in %, test identities")
    figure.savefig(file, dpi=150, format="png")


def translation_table(scores: Mapping[str, Sequence[Mapping[str, float]]]) -> Table:
    """Scores of each generator, mean ± standard deviation over seeds."""
    names = list(dict.fromkeys(name for seeds in scores.values() for one in seeds for name in one))
    table = Table(title="translations of test identities: mean ± standard deviation over seeds")
    table.add_column("generator")
    for name in names:
        metric, target = name.split("_")
        unit = {"psnr": "PSNR dB", "ssim": "SSIM", "frechet": "Fréchet"}[metric]
        table.add_column(f"{unit} to {target}", justify="right")
    for generator, seeds in scores.items():
        cells = []
        for name in names:
            spread = Spread.of([one[name] for one in seeds])
            std = "" if spread.std is None else f" ± {spread.std:.3f}"
            cells.append(f"{spread.mean:.3f}{std}")
        table.add_row(generator, *cells)
    return table
