"""A short name for the exact data a result was computed on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tsme.data.types import MODALITIES, Dataset
from tsme.errors import UserError


def fingerprint(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> str:
    """16 hexadecimal digits (of SHA-256) of the lists of a data set and every image they name.

    Depends on relative names and contents only, not on where the data lie or on file times. `progress`
    is called with (files done, files in all). Raises UserError as `Dataset.read` does, and for a file
    that cannot be read.
    """
    files = set(dataset.lists())
    for number in dataset.trials():
        trial = dataset.read(number)
        for split in (trial.train, trial.test):
            files.update(path for modality in MODALITIES for path in split[modality].paths)
    ordered = sorted(files)
    total = hashlib.sha256()
    with ThreadPoolExecutor() as pool:
        digests = pool.map(partial(_digest, dataset.root), ordered)
        for done, (file, digest) in enumerate(zip(ordered, digests, strict=True), start=1):
            # A digest per file, of fixed length, keeps one file's end apart from the next's start.
            total.update(file.encode() + b"\0" + digest)
            if progress is not None:
                progress(done, len(ordered))
    return total.hexdigest()[:16]


def _digest(root: Path, file: str) -> bytes:
    try:
        with (root / file).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as problem:
        reason = problem.strerror or problem
        raise UserError(f"{root / file}: cannot be read ({reason}); restore it") from problem
