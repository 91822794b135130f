"""A short name for the exact data a result was computed on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tsme.data.regdb import list_files, read_trial
from tsme.errors import UserError


def fingerprint(root: Path, trials: Sequence[int]) -> str:
    """16 hexadecimal digits (of SHA-256) of these trials' lists and every image they name.

    Depends on relative names and contents only: not on where `root` lies, file times, or the order
    of `trials`. Raises UserError as `read_trial` does, and for a file that cannot be read.
    """
    files: set[str] = set()
    for number in set(trials):
        trial = read_trial(root, number)
        files.update(list_files(number).values())
        for split in (trial.train, trial.test):
            files.update(split.visible.paths, split.infrared.paths)
    ordered = sorted(files)
    total = hashlib.sha256()
    with ThreadPoolExecutor() as pool:
        for file, digest in zip(ordered, pool.map(partial(_digest, root), ordered), strict=True):
            # A digest per file, of fixed length, keeps one file's end apart from the next's start.
            total.update(file.encode() + b"\0" + digest)
    return total.hexdigest()[:16]


def _digest(root: Path, file: str) -> bytes:
    try:
        with (root / file).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as problem:
        reason = problem.strerror or problem
        raise UserError(f"{root / file}: cannot be read ({reason}); restore it") from problem
