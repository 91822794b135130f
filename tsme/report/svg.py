"""Matplotlib figures as SVG inside a page: colours and fonts are those of the page's style sheet.

A figure is drawn with placeholder colours, which become CSS variables, so that the same picture can be
read on light and on dark paper. Text stays text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from markupsafe import Markup, escape

# Placeholders, and the variables of style.css that they stand for.
INK, MUTED, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
SERIES = tuple(f"#0500{index:02x}" for index in range(8))
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"} | {
    colour: f"series-{index}" for index, colour in enumerate(SERIES)
}
# Line styles and markers that tell series apart without colour.
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names are data: a dollar sign is a dollar sign
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


@contextmanager
def drawing(width: float, height: float) -> Iterator[Any]:
    """A matplotlib figure of this size in inches, in the style of the page."""
    import matplotlib
    from matplotlib.figure import Figure  # takes half a second to import

    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained", facecolor="none")


def to_svg(figure: Any, name: str, description: str) -> Markup:
    """The figure as an SVG element; `name` makes its ids unique in the page.

    `description` says in words what the picture shows.
    """
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<= )(width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'xlink:href="#', f'href="#{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-")
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    opening = f'<svg class="chart" role="img" aria-label="{escape(description)}" '
    return Markup(svg.replace("<svg ", opening, 1))
