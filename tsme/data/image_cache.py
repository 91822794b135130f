"""The images of a data set at one size, decoded once and kept as arrays on disk.

Decoding and shrinking tens of thousands of pictures takes minutes; mapping an array takes none, and
processes on one machine share its memory.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from tsme.data.images import decode
from tsme.data.types import MODALITIES, Dataset, ImageList, Modality, Split
from tsme.errors import UserError
from tsme.storage.local_copy import cache_folder

Progress = Callable[[int, int], None]
A_DAY = 86400  # seconds
FORMAT = "v2"  # of the arrays; another one where the same file would give other pixels


@dataclass(frozen=True)
class ImageCache:
    """All images of `dataset`, which `fingerprint` names, at height x width pixels.

    Small, so that it can be sent to other processes; on a machine that has no arrays yet, the first
    to need them makes them.
    """

    dataset: Dataset
    fingerprint: str
    height: int
    width: int

    @property
    def folder(self) -> Path:
        """Where the arrays lie."""
        return cache_folder() / f"{self.fingerprint}-{self.height}x{self.width}-{FORMAT}"

    def prepare(self, progress: Progress | None = None) -> None:
        """Decode all images, if that was not done before; `progress(done, total)` counts them.

        Raises UserError naming the first damaged image, or the cache's folder if it cannot be written.
        """
        if self.folder.is_dir():
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder.with_suffix(".lock")):
                if not self.folder.is_dir():
                    self._write(progress)
        except OSError as problem:
            reason = problem.strerror or problem
            raise UserError(
                f"{self.folder.parent}: decoded images cannot be kept there ({reason}); "
                "make room, or name another folder in TSME_CACHE"
            ) from problem

    def load(self, images: ImageList) -> Tensor:
        """The images of a list in its order, uint8 (n, 3, H, W) RGB; a view where they lie in a row."""
        pixels, rows_by_path = self._arrays[images.modality]
        rows = np.array([rows_by_path[path] for path in images.paths], dtype=np.int64)
        if len(rows) and (np.diff(rows) == 1).all():
            return torch.from_numpy(pixels[rows[0] : rows[-1] + 1])
        return torch.from_numpy(pixels[rows])

    def split(self, split: Split) -> dict[Modality, Tensor]:
        """A split's images by modality."""
        return {modality: self.load(split[modality]) for modality in MODALITIES}

    @cached_property
    def _arrays(self) -> dict[Modality, tuple[NDArray[np.uint8], dict[str, int]]]:
        """Mapped pixels and the row of every path, by modality."""
        self.prepare()
        try:
            names = json.loads((self.folder / "paths.json").read_text())
            return {
                # Mapped copy-on-write: torch wants memory it could write to, the file stays as it is.
                modality: (
                    np.load(self.folder / f"{modality}.npy", mmap_mode="c"),
                    {path: row for row, path in enumerate(names[modality])},
                )
                for modality in MODALITIES
            }
        except (OSError, ValueError) as problem:
            raise UserError(
                f"{self.folder}: decoded images there are damaged ({problem}); delete the folder"
            ) from problem

    def __getstate__(self) -> dict[str, Any]:
        """Without the arrays, which every process maps for itself."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _write(self, progress: Progress | None) -> None:
        for left in self.folder.parent.glob(".*.partial"):  # by processes that were killed
            if time.time() - left.stat().st_mtime > A_DAY:
                shutil.rmtree(left, ignore_errors=True)
        temporary = self.folder.with_name(f".{self.folder.name}.{uuid.uuid4().hex}.partial")
        temporary.mkdir()
        try:
            root, paths = self.dataset.root, self._paths()
            total, done = sum(map(len, paths.values())), 0
            for modality, names in paths.items():
                shape = (len(names), 3, self.height, self.width)
                files = [root / name for name in names]
                with (temporary / f"{modality}.npy").open("wb") as stream:
                    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_2_0(stream, header)
                    # Written in order, not mapped: a full disk is then an error, not a signal.
                    for image in decode(files, self.height, self.width):
                        stream.write(image.tobytes())
                        done += 1
                        if progress is not None:
                            progress(done, total)
            (temporary / "paths.json").write_text(json.dumps(paths))
            try:
                temporary.rename(self.folder)
            except OSError:
                if not self.folder.is_dir():  # else another was quicker, where a lock does not hold
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _paths(self) -> dict[Modality, list[str]]:
        """Every image by modality; the first trial's lists lead, so that they are read in a row."""
        paths: dict[Modality, dict[str, None]] = {modality: {} for modality in MODALITIES}
        for trial in self.dataset.trials.values():
            for split in (trial.train, trial.test):
                for modality in MODALITIES:
                    paths[modality].update(dict.fromkeys(split[modality].paths))
        return {modality: list(names) for modality, names in paths.items()}
