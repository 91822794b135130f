"""Counts how often a block of code lists folders and opens files, by Python's audit events."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_active: list[tuple[Path, Counter[str], Counter[str]]] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if not _active or event not in ("open", "os.scandir", "os.listdir"):
        return
    root, listed, opened = _active[-1]
    path = arguments[0]
    if isinstance(path, str | Path) and Path(path).is_relative_to(root):
        counter = opened if event == "open" else listed
        counter[Path(path).relative_to(root).as_posix()] += 1


sys.addaudithook(_audit)


@contextmanager
def counting(root: Path) -> Iterator[tuple[Counter[str], Counter[str]]]:
    """How often this process lists each folder below `root`, and opens each file, in the block."""
    listed: Counter[str] = Counter()
    opened: Counter[str] = Counter()
    _active.append((root, listed, opened))
    try:
        yield listed, opened
    finally:
        _active.pop()
