"""Synthetic data sets, generated with a progress bar."""

from __future__ import annotations

from concurrent.futures import CancelledError
from threading import Event
from typing import TYPE_CHECKING

from tsme.storage.atomic import filling
from tsme.storage.object_store import AnyPath

if TYPE_CHECKING:  # pydantic and NumPy would slow down the start of the command line
    from rich.progress import Progress

    from tsme.config import DatasetName
    from tsme.synthetic.difficulty import Difficulty
    from tsme.synthetic.people.person import ToneModel


def generate_with_progress(
    out: AnyPath,
    layout: DatasetName,
    identities: int,
    images: int,
    *,
    seed: int,
    bars: Progress,
    difficulty: Difficulty = "normal",
    tones: ToneModel = "independent",
    ground_truth: bool = False,
    stopped: Event | None = None,
) -> None:
    """Write a data set of synthetic identities to `out`; see `tsme.synthetic.generate.generate`.

    Raises CancelledError once `stopped` is set, and then leaves nothing in `out`.
    """
    from tsme.synthetic.generate import generate  # the command line starts faster without it

    with filling(out) as folder:
        bar = bars.add_task("generating identities", total=identities, summary="")

        def update(done: int, total: int) -> None:
            if stopped is not None and stopped.is_set():
                raise CancelledError
            bars.update(bar, completed=done, total=total)

        generate(
            folder,
            layout=layout,
            identities=identities,
            images=images,
            seed=seed,
            difficulty=difficulty,
            tones=tones,
            ground_truth=ground_truth,
            progress=update,
        )
