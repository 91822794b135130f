"""Generating a data set with a progress bar; imports little, so that it starts at once."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from tsme.data.synth import generate_regdb


def generate(out: Path, identities: int, images: int, seed: int, console: Console) -> None:
    """Generate a data set in RegDB's layout, with a progress bar."""
    with Progress(console=console, transient=True) as bars:
        bar = bars.add_task("drawing people")

        def show(done: int, total: int) -> None:
            bars.update(bar, completed=done, total=total)

        generate_regdb(out, identities=identities, images=images, seed=seed, progress=show)
    console.print(f"{identities} people, {images} + {images} images each: {out}", soft_wrap=True)
