"""Tensor files in safetensors format whose header holds a digest of their content.

A truncated or altered file is noticed when it is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tsme.errors import UserError
from tsme.storage.atomic import reading, replacing
from tsme.storage.object_store import AnyPath

DIGEST = "sha256"


def save_tensors(
    path: AnyPath, tensors: Mapping[str, Tensor], header: Mapping[str, str] | None = None
) -> None:
    """Write tensors and header to a file, whole or not at all."""
    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    entries = dict(header or {})
    entries[DIGEST] = _digest(content, entries)
    with replacing(path) as temporary:
        save_file(content, temporary, entries)


def read_header(path: AnyPath) -> dict[str, str]:
    """The header of a safetensors file. Raises UserError if the file is missing or damaged."""
    with _opened(path) as file:
        return dict(file.metadata() or {})


def load_tensors(path: AnyPath) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the header that `save_tensors` wrote, on the CPU.

    Raises UserError if the file is missing, or if it is not what was written.
    """
    with _opened(path) as file:
        # safetensors has no iterator over its keys.
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = dict(file.metadata() or {})
    expected = header.pop(DIGEST, None)
    if expected is None:
        raise UserError(f"{path}: has no digest; it was not written by this version of TSME")
    if expected != _digest(tensors, header):
        raise UserError(f"{path}: damaged (its content does not match its digest)")
    return tensors, header


def set_damaged_aside(folder: Path) -> list[str]:
    """Rename every damaged tensor file of a folder to NAME.damaged; returns a message for each."""
    messages = []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            load_tensors(path)
        except UserError as error:
            path.rename(path.with_name(f"{path.name}.damaged"))
            messages.append(f"{error}; renamed to {path.name}.damaged, so that it is made again")
    return messages


@contextmanager
def _opened(path: AnyPath) -> Iterator[Any]:
    """A safetensors file to read from; UserError if it is missing or not a safetensors file."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with reading(path) as local, safe_open(local, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file, or damaged ({error})") from None


def _digest(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    """SHA-256 of the header and of all names, types, shapes and values."""
    result = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        result.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        values = tensor.reshape(-1).view(torch.uint8).numpy()
        result.update(values.data)
    return result.hexdigest()
