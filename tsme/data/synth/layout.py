"""Writes a synthetic data set in RegDB's layout: pictures, and the lists of each trial."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from tsme.data.synth.person import MODALITIES, Modality, draw_person
from tsme.data.synth.render import draw_facing, render
from tsme.errors import UserError

TRIALS = 10  # as many as RegDB has
IDENTITIES_PER_PROCESS = 12  # fewer do not repay starting a process
SPLIT_STREAM = 0x5EED  # keeps the generators of trials apart from those of identities

Paths = Mapping[Modality, Sequence[str]]


def generate_regdb(
    out: Path,
    *,
    identities: int = 412,
    images: int = 10,
    trials: int = 10,
    seed: int = 0,
    size: tuple[int, int] = (64, 128),
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> None:
    """Write a data set of `identities` people, `images` pictures each per modality, to `out`.

    `size` is (width, height); `progress` is called with (identities done, identities in all);
    `workers` is the number of processes (by default one per processor) and changes nothing in the
    result. A person depends on `seed` and the identity number alone. `out` appears only once it
    is complete.

    Raises:
        UserError: `out` exists and is not an empty folder, or a number is out of range.
    """
    _check(identities, images, trials, seed, size, workers)
    out = Path(out).resolve()
    _check_vacant(out)
    partial_out = out.parent / f".{out.name}.{uuid.uuid4().hex}.partial"
    partial_out.mkdir(parents=True)
    try:
        write = partial(_write_identity, partial_out, images, seed, size)
        paths: list[Paths] = []
        for done in _map(write, range(1, identities + 1), workers):
            paths.append(done)
            if progress is not None:
                progress(len(paths), identities)
        _write_lists(partial_out, paths, trials, seed)
        _check_vacant(out)
        if out.exists():
            out.rmdir()
        partial_out.rename(out)
    except BaseException:
        shutil.rmtree(partial_out, ignore_errors=True)
        raise


def _check(
    identities: int,
    images: int,
    trials: int,
    seed: int,
    size: tuple[int, int],
    workers: int | None,
) -> None:
    """Name the first number that is out of range."""
    if identities < 4:
        raise UserError(f"identities is {identities}: ask for at least 4, two for each half")
    if images < 2:
        raise UserError(f"images is {images}: ask for at least 2 per identity and modality")
    if not 1 <= trials <= TRIALS:
        raise UserError(f"trials is {trials}: ask for 1 to {TRIALS}, RegDB has no more")
    if seed < 0:
        raise UserError(f"seed is {seed}: give 0 or a positive whole number")
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}: give at least 1, or leave it out")
    if min(size) < 16:
        raise UserError(f"size is {size[0]}x{size[1]}: make both sides at least 16 pixels")


def _check_vacant(out: Path) -> None:
    if out.is_file():
        raise UserError(f"{out} is a file: name a new folder")
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty: name a new folder, or remove this one first")


def _map(
    write: Callable[[int], Paths], identities: Sequence[int], workers: int | None
) -> Iterator[Paths]:
    """`write` of each identity, in order, over processes where that pays."""
    wanted = workers or min(os.cpu_count() or 1, math.ceil(len(identities) / IDENTITIES_PER_PROCESS))
    if wanted == 1:
        yield from map(write, identities)
        return
    # Spawned, not forked: the caller may hold threads, whose locks a fork would copy.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(wanted, mp_context=context) as pool:
        try:
            yield from pool.map(write, identities, chunksize=2)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _write_identity(out: Path, images: int, seed: int, size: tuple[int, int], identity: int) -> Paths:
    """Write one identity's pictures; returns their paths below `out`."""
    streams = np.random.SeedSequence([seed, identity]).spawn(1 + len(MODALITIES))
    person = draw_person(np.random.default_rng(streams[0]))
    paths: dict[Modality, list[str]] = {}
    for modality, stream in zip(MODALITIES, streams[1:], strict=True):
        rng = np.random.default_rng(stream)
        folder = f"{modality.capitalize()}/{identity}"
        (out / folder).mkdir(parents=True)
        paths[modality] = []
        frame = int(rng.integers(0, 9000))
        for _ in range(images):
            frame += int(rng.integers(1, 12))
            facing = draw_facing(person, rng)
            name = f"{person.gender}_{facing}_{modality[0]}_{frame:05d}_{identity}.bmp"
            picture = render(person, modality, rng, size, facing=facing)
            picture.save(out / folder / name)
            paths[modality].append(f"{folder}/{name}")
    return paths


def _write_lists(out: Path, paths: Sequence[Paths], trials: int, seed: int) -> None:
    """Write each trial's lists; `paths[k]` are those of identity k + 1."""
    (out / "idx").mkdir()
    for trial in range(1, trials + 1):
        rng = np.random.default_rng([seed, SPLIT_STREAM, trial])
        order = rng.permutation(len(paths))
        half = len(paths) // 2
        for split, chosen in (("train", order[:half]), ("test", order[half:])):
            members = sorted(int(index) for index in chosen)
            for modality in MODALITIES:
                lines = [
                    f"{path} {label}\n"
                    for label, index in enumerate(members)
                    for path in paths[index][modality]
                ]
                listing = out / "idx" / f"{split}_{modality}_{trial}.txt"
                listing.write_text("".join(lines), encoding="utf-8", newline="\n")
