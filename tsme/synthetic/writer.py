"""Draws people into a folder that appears only once it is complete; what goes where a layout says."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from tsme.errors import UserError
from tsme.synthetic.difficulty import Difficulty
from tsme.synthetic.people.person import Facing, Person, draw_person
from tsme.synthetic.render import View, render_moment

IDENTITIES_PER_PROCESS = 12  # fewer do not repay starting a process
SPLIT_STREAM = 0x5EED  # keeps the generators of splits apart from those of identities
JPEG_QUALITY = 92


class Shot(NamedTuple):
    """One picture to be drawn with `rng`; `facing` is drawn with it too where it is not given.

    `truth` is where the same moment goes in the eyes of another sensor.
    """

    path: str
    view: View
    rng: np.random.Generator
    facing: Facing | None = None
    ground_truth: tuple[str, View] | None = None


class Layout(Protocol):
    """Which pictures of each person there are and what they are called, and the lists of them.

    Paths are relative to the data set. Copies are sent to other processes.
    """

    @property
    def folders(self) -> list[str]:
        """Folders that exist even where no picture lies in them."""

    def shots(self, identity: int, person: Person, streams: np.random.SeedSequence) -> Iterator[Shot]:
        """The pictures of one person. Each is drawn before the next is asked for."""

    def lists(self, paths: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
        """(path, text) of each list; `paths[k]` are the pictures of identity k + 1."""


def draw(
    out: Path,
    layout: Layout,
    *,
    identities: int,
    seed: int,
    size: tuple[int, int],
    difficulty: Difficulty,
    progress: Callable[[int, int], None] | None,
    workers: int | None,
) -> None:
    """Write pictures and lists of people 1 to `identities`; see `layout.generate` for the rest."""
    out = Path(out).resolve()
    _check_vacant(out)
    partial_out = out.parent / f".{out.name}.{uuid.uuid4().hex}.partial"
    partial_out.mkdir(parents=True)
    try:
        for folder in layout.folders:
            (partial_out / folder).mkdir(parents=True)
        draw_one = partial(_draw_identity, partial_out, layout, seed, size, difficulty)
        paths: list[list[str]] = []
        for done in _map(draw_one, range(1, identities + 1), workers):
            paths.append(done)
            if progress is not None:
                progress(len(paths), identities)
        for name, text in layout.lists(paths):
            (partial_out / name).write_text(text, encoding="utf-8", newline="\n")
        _check_vacant(out)
        if out.exists():
            out.rmdir()
        partial_out.rename(out)
    except BaseException:
        shutil.rmtree(partial_out, ignore_errors=True)
        raise


def divide(seed: int, identities: int, trial: int, sizes: Sequence[int]) -> list[list[int]]:
    """Identity numbers, divided by a seeded draw into sorted groups of `sizes`; the last has the rest."""
    rng = np.random.default_rng([seed, SPLIT_STREAM, trial])
    order = (1 + rng.permutation(identities)).tolist()
    ends = [sum(sizes[:k]) for k in range(len(sizes) + 1)] + [identities]
    return [sorted(order[start:end]) for start, end in pairwise(ends)]


def _check_vacant(out: Path) -> None:
    if out.is_file():
        raise UserError(f"{out} is a file: name a new folder")
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty: name a new folder, or remove this one first")


def _map(
    draw_one: Callable[[int], list[str]], identities: Sequence[int], workers: int | None
) -> Iterator[list[str]]:
    """`draw_one` of each identity, in order, over processes where that pays."""
    wanted = workers or min(os.cpu_count() or 1, math.ceil(len(identities) / IDENTITIES_PER_PROCESS))
    if wanted == 1:
        yield from map(draw_one, identities)
        return
    # Spawned, not forked: the caller may hold threads, whose locks a fork would copy.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(wanted, mp_context=context) as pool:
        try:
            yield from pool.map(draw_one, identities, chunksize=2)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _draw_identity(
    out: Path,
    layout: Layout,
    seed: int,
    size: tuple[int, int],
    difficulty: Difficulty,
    identity: int,
) -> list[str]:
    """Draw one identity's pictures; returns their paths below `out`."""
    streams = np.random.SeedSequence([seed, identity])
    person = draw_person(np.random.default_rng(streams.spawn(1)[0]))
    paths: list[str] = []
    for path, view, rng, facing, ground_truth in layout.shots(identity, person, streams):
        views, files = [view], [path]
        if ground_truth is not None:
            files.append(ground_truth[0])
            views.append(ground_truth[1])
        pictures = render_moment(person, views, rng, size, facing=facing, difficulty=difficulty)
        for file, picture in zip(files, pictures, strict=True):
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            picture.save(out / file, quality=JPEG_QUALITY)  # which means nothing to formats but JPEG
        paths.append(path)
    return paths
