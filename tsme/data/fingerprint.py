"""A short name for the exact data that a result was computed on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tsme.data.types import MODALITIES, Dataset
from tsme.errors import UserError
from tsme.storage.digest import file_digest


def fingerprint(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> str:
    """16 hexadecimal digits (of SHA-256) of a data set's lists and all images of its trials.

    Depends on relative names and contents only, not on the location or file times. `progress` is called
    with (files done, files in total). Raises UserError for a trial with faults and for a file that cannot
    be read.
    """
    images: set[str] = set()
    for number in dataset.trials:
        trial = dataset.trial(number)
        for split in (trial.train, trial.test):
            images.update(path for modality in MODALITIES for path in split[modality].paths)
    total = hashlib.sha256()
    with ThreadPoolExecutor() as pool:
        ordered = sorted(images)
        digests = dict(dataset.lists)
        for path, digest in zip(ordered, pool.map(partial(_digest, dataset.root), ordered), strict=True):
            digests[path] = digest
            if progress is not None:
                progress(len(digests), len(ordered) + len(dataset.lists))
    for path in sorted(digests):
        # Digests have a fixed length, so the end of one file cannot pass for the start of the next.
        total.update(path.encode() + b"\0" + digests[path])
    return total.hexdigest()[:16]


def _digest(root: Path, file: str) -> bytes:
    try:
        return file_digest(root / file)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{root / file}: cannot be read ({reason}); restore it") from error
