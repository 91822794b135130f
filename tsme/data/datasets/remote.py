"""A data set in an object store: every machine that needs its images copies it once."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from filelock import FileLock

from tsme.config import DatasetName
from tsme.data.image_cache import cache_folder
from tsme.data.types import Dataset, Findings, Trial
from tsme.errors import UserError
from tsme.storage.object_store import RemotePath

# What opens a folder (or a table's file) that is here.
Reader = Callable[[Path], Dataset]


@dataclass(frozen=True)
class Fetched:
    """The data set at `source`, or the one whose table that is, with all in the table's folder.

    `version` names the files as they were when it was opened. Small: what is sent to other processes is
    where to fetch it from, and who needs files there gets a copy, in the folder for decoded images.
    """

    layout: Reader
    source: RemotePath
    version: str

    @property
    def name(self) -> DatasetName:
        """What the layout is called on the command line."""
        return self._here.name

    @property
    def root(self) -> Path:
        """The folder that image paths are relative to, on this machine."""
        return self._here.root

    def trials(self) -> list[int]:
        """Numbers of its divisions into training and test identities."""
        return self._here.trials()

    def read(self, trial: int) -> Trial:
        """One division."""
        return self._here.read(trial)

    def lists(self) -> list[str]:
        """The files that say which image belongs where."""
        return self._here.lists()

    def examine(self) -> Findings:
        """All that is wrong with lists and folders."""
        return self._here.examine()

    @property
    def _here(self) -> Dataset:
        return self.layout(_copy(self.source, self.version))


def open_remote(layout: Reader, source: RemotePath) -> Fetched:
    """The data set at `source`, of which nothing is copied yet. Raises UserError if nothing is there."""
    return Fetched(layout, source, _version(source))


@cache  # a process looks once
def _copy(source: RemotePath, version: str) -> Path:
    """Where this machine's copy of `source` is, made by the first process to ask.

    Raises UserError if it cannot be kept, or if the files are others than those of `version`.
    """
    target = cache_folder() / f"data-{version}"
    folder = _folder(source)
    inside = target if folder == source else target / source.name
    if target.is_dir():
        return inside
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if not target.is_dir():
                _fetch(folder, source, version, target)
    except OSError as problem:
        raise UserError(
            f"{target.parent}: a copy of {source} cannot be kept there ({problem.strerror or problem}); "
            "make room, or name another folder in TSME_CACHE"
        ) from problem
    return inside


def _fetch(folder: RemotePath, source: RemotePath, version: str, target: Path) -> None:
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    partial.mkdir()
    try:
        folder.download(partial)
        if _version(source) != version:
            raise UserError(f"{source}: files there have changed since the run began; start a new one")
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _folder(source: RemotePath) -> RemotePath:
    """What is copied."""
    return source.parent if source.is_file() else source


def _version(source: RemotePath) -> str:
    """A short name for what lies there, by names, sizes and times."""
    files = [entry for entry in _folder(source).entries(recursive=True) if entry.is_file]
    if not files:
        raise UserError(f"{source}: no such file or folder")
    told = sorted((entry.path, entry.size, entry.mtime_ns) for entry in files)
    return hashlib.sha256(repr((source.uri, told)).encode()).hexdigest()[:16]
