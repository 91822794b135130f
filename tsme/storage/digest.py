"""Digests of values and files: equal contents have equal digests, on every machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def digest(value: object, digits: int = 10) -> str:
    """Hexadecimal digits (of SHA-256) that name a value.

    The value is made of dictionaries, lists, tuples, numbers, strings and None; the order of keys does
    not matter. Anything else is named by its str().
    """
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file's content, which is read in pieces. Raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
