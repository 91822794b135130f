"""The report's charts, each an SVG element with a description in words. Figures are in per cent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tsme.data.types import MODALITIES
from tsme.evaluation.embedding_space import EmbeddingMap, Histogram
from tsme.evaluation.results import EvaluationResult
from tsme.report.run_folder import Curve, TrainingHistory
from tsme.report.svg import DASHES, GRID, MARKERS, MUTED, PAPER, SERIES, drawing, to_svg

Numbers = NDArray[Any]

PANEL = (4.9, 3.1)  # inches; two panels side by side fill the page


def cmc_chart(protocol: str, rows: Sequence[EvaluationResult], name: str) -> Markup:
    """CMC of one protocol: a thin line for each trial or gallery draw, their mean, and one deviation.

    All rows have curves of the same length.
    """
    curves = 100 * np.array([row.cmc for row in rows])  # (trials, ranks)
    ranks, mean = np.arange(1, curves.shape[1] + 1), curves.mean(axis=0)
    with drawing(*PANEL) as figure:
        ax = figure.subplots()
        if len(curves) > 1:
            std = curves.std(axis=0, ddof=1)
            high = np.minimum(mean + std, 100)
            ax.fill_between(ranks, mean - std, high, color=SERIES[0], alpha=0.16, lw=0)
            ax.plot(ranks, curves.T, color=SERIES[0], alpha=0.3, lw=0.7)
        ax.plot(ranks, mean, color=SERIES[0], marker="o", markersize=3.2, lw=2)
        ax.set(xlabel="rank", ylabel="queries with a match, %", ylim=(0, 102), title=protocol)
        ax.set_xticks([rank for rank in (1, 5, 10, 15, 20) if rank <= len(ranks)])
        ax.set_xlim(0.5, max(len(ranks), 2) + 0.5)
        ax.grid(axis="y")
        described = ", ".join(
            f"{mean[rank - 1]:.1f} % at rank {rank}" for rank in (1, 5, 10, 20) if rank <= len(ranks)
        )
        return to_svg(figure, name, f"CMC curve {protocol}: mean {described}.")


def losses_chart(title: str, trainings: Sequence[TrainingHistory], name: str) -> Markup:
    """Loss terms of one stage by epoch: the mean over trainings, and their range as a band.

    Colour is the first word of a term's name, the line's style the second: "fused centre".
    """
    keys = dict.fromkeys(key for each in trainings for key in each.curves if key.startswith("loss/"))
    terms = {}
    for key in sorted(keys, key=lambda key: (key != "loss/total", key)):
        curves = [each.curves[key] for each in trainings if key in each.curves]
        terms[key.removeprefix("loss/").replace("_", " ")] = _aligned(curves)
    last = max(int(epochs[-1]) for epochs, _ in terms.values())
    with drawing(PANEL[0], 3.7) as figure:
        ax = figure.subplots()
        if last == 1:
            _draw_ranges(ax, {term: values for term, (_, values) in terms.items()})
        else:
            _draw_terms(ax, terms)
            figure.legend(loc="outside lower left", ncols=3, handlelength=2.6)
        ax.set_title(title)
        return to_svg(
            figure, name, f"{title}: loss terms over {last} epochs, {len(trainings)} trainings."
        )


def _draw_terms(ax: Any, terms: Mapping[str, tuple[Numbers, Numbers]]) -> None:
    """A line and a band per term, which has epochs (e,) and values (trainings, e)."""
    colours, styles = [list(dict.fromkeys(words)) for words in zip(*map(_words, terms), strict=True)]
    for term, (epochs, values) in terms.items():
        first, second = _words(term)
        colour, style = SERIES[colours.index(first) % 8], styles.index(second) % 4
        mean = np.nanmean(values, axis=0)
        line = {"color": colour, "linestyle": DASHES[style], "marker": MARKERS[style], "markersize": 3.2}
        ax.plot(epochs, mean, label=term, **line)
        if len(values) > 1:
            low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
            ax.fill_between(epochs, low, high, color=colour, alpha=0.12, lw=0)
    ax.set(xlabel="epoch", ylabel="loss")
    if all(line.get_ydata().min() > 0 for line in ax.lines):
        _log_axis(ax.yaxis)
    _whole_epochs(ax)


def _words(term: str) -> tuple[str, str]:
    first, _, second = term.partition(" ")
    return first, second


def _draw_ranges(ax: Any, terms: Mapping[str, Numbers]) -> None:
    """A dot and the range of each term's values in the only epoch."""
    for row, values in enumerate(terms.values()):
        ax.hlines(row, values.min(), values.max(), color=SERIES[0], alpha=0.35, lw=5)
        ax.plot(values.mean(), row, marker="o", color=SERIES[0])
    ax.set_yticks(range(len(terms)), list(terms))
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.set_xlabel("loss in the only epoch")
    if all(values.min() > 0 for values in terms.values()):
        _log_axis(ax.xaxis)


def validation_chart(samples: Sequence[TrainingHistory], chosen: str, name: str) -> Markup:
    """Validation mAP of every sweep sample by epoch; the chosen one is thick."""
    with drawing(PANEL[0], 3.7) as figure:
        ax = figure.subplots()
        for each in samples:
            curve, best = each.curves["val_mAP"], each.name.removeprefix("sweep ") == chosen
            style: dict[str, Any] = {"color": MUTED, "lw": 0.9, "alpha": 0.8, "marker": "."}
            if best:
                style = {"color": SERIES[0], "lw": 2.2, "marker": "o", "markersize": 4, "zorder": 3}
            label = f"{chosen}, chosen" if best else "other samples"
            ax.plot(curve.epochs, 100 * np.array(curve.values), label=label, **style)
        ax.set(xlabel="epoch of stage 2", ylabel="mAP, %", title="Validation, held-out identities")
        ax.grid(axis="y")
        _whole_epochs(ax)
        handles, labels = ax.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(unique.values(), unique.keys(), loc="outside lower left", ncols=2)
        return to_svg(figure, name, f"Validation mAP by epoch of {len(samples)} sweep samples.")


def distances_chart(title: str, edges: Sequence[float], histogram: Histogram, name: str) -> Markup:
    """Shares of pairs by cosine distance: same identities as a filled area, different ones as a line."""
    same, different = np.array(histogram.same), np.array(histogram.different)
    used = np.flatnonzero(same + different)
    first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, len(same))
    with drawing(4.1, 2.9) as figure:  # three side by side
        ax = figure.subplots()
        bounds = np.array(edges[first : last + 1])
        for counts, colour, label, fill in (
            (same, SERIES[0], "same identity", True),
            (different, SERIES[1], "different identities", False),
        ):
            shares = 100 * counts[first:last] / max(1, counts.sum())
            ax.stairs(shares, bounds, color=colour, lw=1.8, ls="-" if fill else DASHES[1], label=label)
            if fill:
                ax.stairs(shares, bounds, color=colour, alpha=0.22, fill=True, lw=0)
        ax.set(xlabel="cosine distance", ylabel="pairs, %", title=title)
        figure.legend(loc="outside lower left", ncols=2)
        return to_svg(figure, name, f"{title}: distances of {same.sum()} pairs of images of the same "
                      f"and {different.sum()} of different identities.")  # fmt: skip


def map_chart(embedding_map: EmbeddingMap, name: str) -> Markup:
    """Embeddings on their first two principal components: colour is the identity, shape the modality."""
    points = embedding_map.points
    marked = sorted({p.identity for m in MODALITIES for p in points[m] if p.identity is not None})
    with drawing(9.6, 6.4) as figure:
        ax = figure.subplots()
        for modality, marker in zip(MODALITIES, ("o", "^"), strict=True):
            for identity in (None, *marked):
                xy = np.array([(p.x, p.y) for p in points[modality] if p.identity == identity])
                if not len(xy):
                    continue
                index = None if identity is None else marked.index(identity)
                colour = GRID if index is None else SERIES[index % 8]
                size, edge = (14, "none") if index is None else (38, PAPER)
                ax.scatter(*xy.T, s=size, c=colour, marker=marker, edgecolors=edge, lw=0.6)
        for index, identity in enumerate(marked):
            own = [(p.x, p.y) for m in MODALITIES for p in points[m] if p.identity == identity]
            style = {"color": SERIES[index % 8], "weight": "bold", "fontsize": 13}
            ax.annotate(str(identity), np.mean(own, axis=0), ha="center", va="center", **style)
        shares = [f"{100 * share:.0f} % of the variance" for share in embedding_map.explained]
        ax.set(xlabel=f"first component, {shares[0]}", ylabel=f"second component, {shares[1]}")
        ax.set_xticks([])
        ax.set_yticks([])
        for modality, marker in zip(MODALITIES, ("o", "^"), strict=True):
            ax.scatter([], [], s=38, c=MUTED, marker=marker, label=modality)
        ax.scatter([], [], s=14, c=GRID, label="other identities")
        figure.legend(loc="outside upper left", ncols=3)
        return to_svg(figure, name, f"Map of {sum(map(len, points.values()))} embeddings; identities "
                      f"{', '.join(map(str, marked))} are marked.")  # fmt: skip


def sweep_chart(samples: Sequence[Mapping[str, Any]], name: str) -> Markup:
    """Parallel coordinates: a line per sample through its values and its validation mAP."""
    keys = list(samples[0]["values"])
    columns = [[sample["values"][key] for sample in samples] for key in keys]
    columns.append([100 * sample["score"] for sample in samples])
    titles = [*(key.rpartition(".")[0].replace(".", " ") + "\n" + key.rpartition(".")[2] for key in keys),
              "validation\nmAP, %"]  # fmt: skip
    heights = np.array([_unit(column, positive=i < len(keys)) for i, column in enumerate(columns)])
    with drawing(10, 3.6) as figure:
        ax = figure.subplots()
        places = np.arange(len(columns))
        for number in reversed(range(len(samples))):
            style: dict[str, Any] = {"color": MUTED, "lw": 1, "alpha": 0.75}
            if number == 0:
                style = {"color": SERIES[0], "lw": 2.6, "zorder": 3}
            ax.plot(places, heights[:, number], marker="o", markersize=3.5, **style)
        for place, column in zip(places, columns, strict=True):
            ax.axvline(place, color=GRID, lw=0.8, zorder=0)
            ax.text(place, 1.06, f"{max(column):.3g}", ha="center", color=MUTED, fontsize=9)
            ax.text(place, -0.06, f"{min(column):.3g}", ha="center", va="top", color=MUTED, fontsize=9)
        ax.set(ylim=(-0.16, 1.16), xlim=(-0.4, len(columns) - 0.6))
        ax.set_xticks(places, titles)
        ax.set_yticks([])
        ax.tick_params(axis="x", length=0)
        ax.spines[:].set_visible(False)
        return to_svg(figure, name, f"Parallel coordinates of {len(samples)} sweep samples; the best "
                      f"reached a validation mAP of {100 * samples[0]['score']:.1f} %.")  # fmt: skip


def timeline_chart(trainings: Sequence[TrainingHistory], name: str) -> Markup:
    """When each training ran: a bar from its first epoch's beginning to its last epoch's end."""
    ordered = sorted(trainings, key=lambda each: (each.began, each.name))
    start, end = ordered[0].began, max(each.ended for each in ordered)
    unit, label = (1, "seconds") if end - start < 180 else (60, "minutes")
    if end - start > 3 * 3600:
        unit, label = 3600, "hours"
    with drawing(10, 0.9 + 0.2 * len(ordered)) as figure:
        ax = figure.subplots()
        for row, each in enumerate(ordered):
            kind = 2 if each.name.startswith("sweep") else int("stage 2" in each.name)
            left, width = (each.began - start) / unit, (each.ended - each.began) / unit
            ax.barh(row, width, left=left, height=0.62, color=SERIES[kind], alpha=0.85)
        ax.set_yticks(range(len(ordered)), [each.name for each in ordered])
        ax.tick_params(axis="y", length=0, labelsize=9)
        ax.invert_yaxis()
        ax.set(xlabel=f"{label} since the first training began")
        ax.grid(axis="x")
        ax.spines["left"].set_visible(False)
        return to_svg(figure, name, f"Times of {len(ordered)} trainings within "
                      f"{(end - start) / unit:.1f} {label}.")  # fmt: skip


def _aligned(curves: Sequence[Curve]) -> tuple[Numbers, Numbers]:
    """Epochs (e,) and values (curves, e), NaN where a curve has no such epoch."""
    epochs = sorted({epoch for curve in curves for epoch in curve.epochs})
    values = np.full((len(curves), len(epochs)), np.nan)
    for row, curve in enumerate(curves):
        values[row, np.searchsorted(epochs, curve.epochs)] = curve.values
    return np.array(epochs), values


def _unit(column: Sequence[float], *, positive: bool) -> list[float]:
    """Values scaled to [0, 1], on a logarithmic scale if they may be: learning rates are."""
    values = np.array(column, dtype=float)
    if positive and values.min() > 0 and values.max() > 4 * values.min():
        values = np.log(values)
    spread = values.max() - values.min()
    scaled: list[float] = ((values - values.min()) / spread).tolist() if spread else [0.5] * len(values)
    return scaled


def _log_axis(axis: Any) -> None:
    """A logarithmic axis with plain numbers."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _whole_epochs(ax: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
