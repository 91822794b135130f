"""An ablation's figures over seeds: means, paired differences, tables and a plot."""

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
# For each variant, the rows of one model per seed, seeds in the same order.
ResultsByVariant = Mapping[str, Sequence[Sequence[EvaluationResult]]]


class Gain(NamedTuple):
    """Difference of a figure between two variants, over pairs of equal seeds.

    It is `clear` if its mean is larger than its own standard deviation and that of either variant; None
    for a single seed.
    """

    difference: Spread
    clear: bool | None

    def __str__(self) -> str:
        if self.clear is None:
            return ""
        return ("gain" if self.difference.mean > 0 else "loss") if self.clear else "within the spread"


class Line(NamedTuple):
    """A variant's figures in one protocol, and their differences from the variant `over`."""

    variant: str
    protocol: str
    figures: dict[str, Spread]
    over: str | None
    gains: dict[str, Gain]  # empty if there is nothing to compare with

    def to_json(self) -> dict[str, Any]:
        """The entry in ablation.json."""
        gains = {
            f: {"mean": gain.difference.mean, "std": gain.difference.std, "clear": gain.clear}
            for f, gain in self.gains.items()
        }
        figures = {f: spread._asdict() for f, spread in self.figures.items()}
        return self._asdict() | {"figures": figures, "gains": gains}


def compare(results: ResultsByVariant, over: Mapping[str, str | None]) -> list[Line]:
    """One line per protocol and variant.

    `over` names the variant to compare with. If that variant lacks a protocol (flipped, re-ranked), the
    line has no gains.
    """
    protocols = dict.fromkeys(
        row.protocol for seeds in results.values() for rows in seeds for row in rows
    )
    values = {
        (variant, protocol): {f: [_mean(rows, protocol, f) for rows in seeds] for f in FIGURES}
        for protocol in protocols
        for variant, seeds in results.items()
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
    """Mean of a figure over gallery draws."""
    return float(np.mean([getattr(row, figure) for row in rows if row.protocol == protocol]))


def _gain(values: Sequence[float], base: Sequence[float]) -> Gain:
    difference = Spread.of([a - b for a, b in zip(values, base, strict=True)])
    spreads = [s.std for s in (difference, Spread.of(values), Spread.of(base)) if s.std is not None]
    return Gain(difference, abs(difference.mean) > max(spreads) if spreads else None)


def ablation_table(lines: Sequence[Line], seeds: int) -> Table:
    """Figures in %, and the differences between variants at equal seeds."""
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


def ablation_plot(results: ResultsByVariant, lines: Sequence[Line], file: Path) -> None:
    """mAP of each variant as a PNG: one line per seed, and the means."""
    from matplotlib.figure import Figure  # takes half a second to import

    plain = [line for line in lines if " with " not in line.protocol]
    protocols = list(dict.fromkeys(line.protocol for line in plain))
    figure = Figure(figsize=(1 + 3.6 * len(protocols), 3.6), layout="constrained")
    axes = figure.subplots(1, len(protocols), sharey=True, squeeze=False)[0]
    names = list(results)
    for ax, protocol in zip(axes, protocols, strict=True):
        seeds = np.array([[_mean(rows, protocol, "mAP") for rows in results[name]] for name in names])
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
