"""A cache of the images of a data set: decoded once, resized, and stored as arrays on disk.

Decoding tens of thousands of images takes minutes. Mapping an array takes no time, and all processes of
a machine share its memory.
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
STALE_SECONDS = 86400  # age at which the files of a killed process are deleted
FORMAT = "v3"  # changes whenever the same image file would give other pixels


@dataclass(frozen=True)
class ImageCache:
    """All images of `dataset` at height x width pixels; `fingerprint` is that of the data set.

    Can be sent to other processes. On a machine without the arrays, the first process that needs them
    writes them.
    """

    dataset: Dataset
    fingerprint: str
    height: int
    width: int

    @property
    def folder(self) -> Path:
        """The folder of the arrays."""
        return cache_folder() / f"{self.fingerprint}-{self.height}x{self.width}-{FORMAT}"

    def prepare(self, progress: Progress | None = None) -> None:
        """Decode all images unless the arrays exist; `progress(done, total)` is called after each.

        Raises UserError naming the first damaged image, or the cache folder if it cannot be written to.
        """
        if self.folder.is_dir():
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder.with_suffix(".lock")):
                if not self.folder.is_dir():
                    self._write(progress)
        except OSError as error:
            raise UserError(
                f"{self.folder.parent}: cannot store decoded images ({error.strerror or error}); "
                "free some space, or set TSME_CACHE to another folder"
            ) from error

    def load(self, images: ImageList) -> Tensor:
        """The images of a list, uint8 (n, 3, H, W) RGB; a view of the array if contiguous in it."""
        pixels, rows_by_path = self._arrays[images.modality]
        rows = np.array([rows_by_path[path] for path in images.paths], dtype=np.int64)
        if len(rows) and (np.diff(rows) == 1).all():
            return torch.from_numpy(pixels[rows[0] : rows[-1] + 1])
        return torch.from_numpy(pixels[rows])

    def split(self, split: Split) -> dict[Modality, Tensor]:
        """The images of a split, by modality."""
        return {modality: self.load(split[modality]) for modality in MODALITIES}

    @cached_property
    def _arrays(self) -> dict[Modality, tuple[NDArray[np.uint8], dict[str, int]]]:
        """Memory-mapped pixels, and the row of every path, by modality."""
        self.prepare()
        try:
            names = json.loads((self.folder / "paths.json").read_text())
            return {
                # Copy-on-write: torch requires writable memory, and the file must not change.
                modality: (
                    np.load(self.folder / f"{modality}.npy", mmap_mode="c"),
                    {path: row for row, path in enumerate(names[modality])},
                )
                for modality in MODALITIES
            }
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.folder}: the decoded images are damaged ({error}); delete the folder"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        """All fields but not the arrays, which each process maps itself."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _write(self, progress: Progress | None) -> None:
        for partial in self.folder.parent.glob(".*.partial"):
            if time.time() - partial.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(partial, ignore_errors=True)
        temporary = self.folder.with_name(f".{self.folder.name}.{uuid.uuid4().hex}.partial")
        temporary.mkdir()
        try:
            self._write_arrays(temporary, progress)
            try:
                temporary.rename(self.folder)
            except OSError:
                if not self.folder.is_dir():  # else another machine was faster; locks may be local
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _write_arrays(self, folder: Path, progress: Progress | None) -> None:
        root, paths = self.dataset.root, self._paths()
        total, done = sum(map(len, paths.values())), 0
        for modality, names in paths.items():
            shape = (len(names), 3, self.height, self.width)
            with (folder / f"{modality}.npy").open("wb") as stream:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(stream, header)
                # Written, not mapped: writing to a mapped file on a full disk kills the process.
                for image in decode([root / name for name in names], self.height, self.width):
                    stream.write(image.tobytes())
                    done += 1
                    if progress is not None:
                        progress(done, total)
        (folder / "paths.json").write_text(json.dumps(paths))

    def _paths(self) -> dict[Modality, list[str]]:
        """Every image by modality. Those of trial 1 come first, so that its rows are contiguous."""
        paths: dict[Modality, dict[str, None]] = {modality: {} for modality in MODALITIES}
        for trial in self.dataset.trials.values():
            for split in (trial.train, trial.test):
                for modality in MODALITIES:
                    paths[modality].update(dict.fromkeys(split[modality].paths))
        return {modality: list(names) for modality, names in paths.items()}
