"""Render the images of a synthetic data set and write them with its list files."""

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
from tsme.synthetic.difficulty import FrameVariation
from tsme.synthetic.people.person import Facing, Person, ToneModel
from tsme.synthetic.people.sampling import sample_person
from tsme.synthetic.render import View, render_views

IDENTITIES_PER_PROCESS = 12  # with fewer, starting a process takes longer than it saves
SPLIT_STREAM = 0x5EED  # separates the random streams of splits from those of identities
JPEG_QUALITY = 92


class PlannedImage(NamedTuple):
    """One image to render with `rng`; `facing` is sampled from it if None.

    `ground_truth` is the path and view of the same moment as another sensor records it.
    """

    path: str
    view: View
    rng: np.random.Generator
    facing: Facing | None = None
    ground_truth: tuple[str, View] | None = None


class DatasetLayout(Protocol):
    """Image paths, cameras and list files of one layout.

    Paths are relative to the data set. Worker processes receive pickled copies.
    """

    @property
    def folders(self) -> list[str]:
        """Folders to create even if they stay empty."""

    def plan_images(
        self, identity: int, person: Person, streams: np.random.SeedSequence
    ) -> Iterator[PlannedImage]:
        """Yield the images of one identity. Render each before advancing: they share generators."""

    def list_files(self, paths: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
        """Yield (path, text) of each list file; `paths[k]` are the images of identity k + 1."""


def write_dataset(
    out: Path,
    layout: DatasetLayout,
    *,
    identities: int,
    seed: int,
    size: tuple[int, int],
    variation: FrameVariation,
    tone_model: ToneModel,
    progress: Callable[[int, int], None] | None,
    workers: int | None,
) -> None:
    """Write images and list files of identities 1 to `identities`; see `generate` for the arguments."""
    out = Path(out).resolve()
    _require_empty(out)
    partial_out = out.parent / f".{out.name}.{uuid.uuid4().hex}.partial"
    partial_out.mkdir(parents=True)
    try:
        for folder in layout.folders:
            (partial_out / folder).mkdir(parents=True)
        write_one = partial(_write_identity, partial_out, layout, seed, size, variation, tone_model)
        paths: list[list[str]] = []
        for written in _map_identities(write_one, range(1, identities + 1), workers):
            paths.append(written)
            if progress is not None:
                progress(len(paths), identities)
        for name, text in layout.list_files(paths):
            (partial_out / name).write_text(text, encoding="utf-8", newline="\n")
        _require_empty(out)
        if out.exists():
            out.rmdir()
        partial_out.rename(out)
    except BaseException:
        shutil.rmtree(partial_out, ignore_errors=True)
        raise


def split_identities(seed: int, identities: int, trial: int, sizes: Sequence[int]) -> list[list[int]]:
    """Randomly split the numbers 1 to `identities` into sorted groups of `sizes` and one of the rest."""
    rng = np.random.default_rng([seed, SPLIT_STREAM, trial])
    order = (1 + rng.permutation(identities)).tolist()
    ends = [sum(sizes[:k]) for k in range(len(sizes) + 1)] + [identities]
    return [sorted(order[start:end]) for start, end in pairwise(ends)]


def _require_empty(out: Path) -> None:
    if out.is_file():
        raise UserError(f"{out} is a file: name a new folder")
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty: name a new folder, or remove this one first")


def _map_identities(
    write_one: Callable[[int], list[str]], identities: Sequence[int], workers: int | None
) -> Iterator[list[str]]:
    """Yield `write_one(identity)` in order, computed by several processes if that saves time."""
    processes = workers or min(os.cpu_count() or 1, math.ceil(len(identities) / IDENTITIES_PER_PROCESS))
    if processes == 1:
        yield from map(write_one, identities)
        return
    # Spawned, not forked: a fork would copy locks that other threads of the caller hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        try:
            yield from pool.map(write_one, identities, chunksize=2)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _write_identity(
    out: Path,
    layout: DatasetLayout,
    seed: int,
    size: tuple[int, int],
    variation: FrameVariation,
    tone_model: ToneModel,
    identity: int,
) -> list[str]:
    """Write the images of one identity; return their paths relative to `out`."""
    streams = np.random.SeedSequence([seed, identity])
    person = sample_person(np.random.default_rng(streams.spawn(1)[0]), tone_model)
    paths: list[str] = []
    for path, view, rng, facing, ground_truth in layout.plan_images(identity, person, streams):
        files, views = [path], [view]
        if ground_truth is not None:
            files.append(ground_truth[0])
            views.append(ground_truth[1])
        images = render_views(person, views, rng, size, facing=facing, variation=variation)
        for file, image in zip(files, images, strict=True):
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            image.save(out / file, quality=JPEG_QUALITY)  # ignored by formats other than JPEG
        paths.append(path)
    return paths
