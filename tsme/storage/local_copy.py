"""Local copies of remote folders: each machine downloads a folder once."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from filelock import FileLock

from tsme.errors import UserError
from tsme.storage.digest import digest
from tsme.storage.object_store import RemotePath


def cache_folder() -> Path:
    """The folder TSME_CACHE, else `tsme` in the user's cache folder. Safe to delete."""
    own = os.environ.get("TSME_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tsme"


@dataclass(frozen=True)
class LocalCopy:
    """A remote folder, and the version of its files that each machine copies to its cache folder."""

    folder: RemotePath
    version: str

    @classmethod
    def of(cls, folder: RemotePath) -> LocalCopy:
        """The folder with its files as they are now. Raises UserError if there are none."""
        return cls(folder, _version(folder))

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def path(self) -> Path:
        """The copy on this machine, downloaded if it is not there yet.

        Raises UserError if the copy cannot be written, or if the remote files have changed.
        """
        return _download(self.folder, self.version)


@cache  # checked once per process
def _download(folder: RemotePath, version: str) -> Path:
    target = cache_folder() / f"data-{version}"
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if not target.is_dir():
                _download_to(target, folder, version)
    except OSError as error:
        raise UserError(
            f"{target.parent}: cannot store a copy of {folder} ({error.strerror or error}); "
            "free some space, or set TSME_CACHE to another folder"
        ) from error
    return target


def _download_to(target: Path, folder: RemotePath, version: str) -> None:
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    partial.mkdir()
    try:
        folder.download(partial)
        if _version(folder) != version:
            raise UserError(f"{folder}: files there have changed since the run began; start a new one")
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _version(folder: RemotePath) -> str:
    """16 hexadecimal digits that depend on the names, sizes and times of all files in the folder."""
    files = [entry for entry in folder.entries(recursive=True) if entry.is_file]
    if not files:
        raise UserError(f"{folder}: no such file or folder")
    listed = sorted((entry.path, entry.size, entry.mtime_ns) for entry in files)
    return digest([folder.uri, listed], digits=16)
