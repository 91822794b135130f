"""Atomic writes: a file appears whole or not at all, on disk or in an object store."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from tsme.errors import UserError
from tsme.storage.object_store import AnyPath, RemotePath


@contextmanager
def replacing(path: AnyPath) -> Iterator[Path]:
    """A temporary file to write to, which becomes `path` if the block succeeds.

    It gets the permissions of any new file. safetensors would make it readable by its owner only, but
    other accounts may use the weights in a shared folder.

    Raises UserError naming the file if it cannot be written, for example on a full disk; an earlier
    file at `path` is then unchanged.
    """
    folder = Path(tempfile.gettempdir()) if isinstance(path, RemotePath) else path.parent
    temporary = folder / f".{path.name}.{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode
        temporary.unlink()
        yield temporary
        if temporary.stat().st_mode != mode:
            temporary.chmod(mode)
        if isinstance(path, RemotePath):
            path.upload(temporary)
        else:
            os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be written ({_reason(error)})") from error
    finally:
        with suppress(OSError):  # it may not exist
            temporary.unlink()


@contextmanager
def reading(path: AnyPath) -> Iterator[Path]:
    """The file on this machine: the file itself, or a copy that is deleted at the end of the block.

    Raises FileNotFoundError if a remote file does not exist.
    """
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        path.download(copy := Path(folder) / path.name)
        yield copy


@contextmanager
def filling(folder: AnyPath) -> Iterator[Path]:
    """A folder on this machine to fill: `folder` itself, or one that is uploaded to it at the end."""
    if isinstance(folder, Path):
        yield folder
        return
    with tempfile.TemporaryDirectory() as parent:
        yield (copy := Path(parent) / folder.name)
        folder.upload_folder(copy)


def write_json(path: AnyPath, value: Any) -> None:
    """Write `value` as indented JSON. Raises ValueError for NaN and infinity, which JSON lacks."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: AnyPath) -> Any:
    """The value in a JSON file. Raises UserError if the file is missing or damaged."""
    try:
        with reading(path) as file:
            return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({_reason(error)})") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a JSON file ({error})") from None


def _reason(error: Exception) -> str:
    """The system's message, if there is one: it does not repeat the path."""
    return getattr(error, "strerror", None) or str(error)
