"""List files with a line `<relative path> <label>` for each image, as RegDB and LLCM have them.

Labels are renumbered for training and differ between lists. The identity is part of the path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tsme.data.datasets.folder import (
    BadLine,
    DataFolder,
    clean_path,
    numbered_lines,
    quote,
    whole_number,
)
from tsme.data.datasets.image_records import locate_images
from tsme.data.types import Fault

# A file name may contain spaces and commas, so the label is what follows the last separator.
_LINE = re.compile(r"(.*[^\s,;])[\s,;]+([^\s,;]+)")


class ListLine(NamedTuple):
    """A valid line; `path` is the path on disk if the image is there."""

    number: int
    path: str
    identity: int
    label: int


@dataclass(frozen=True)
class ListFile:
    """The valid lines of a list file, the numbers of those whose image is there, and all faults."""

    file: str
    lines: tuple[ListLine, ...]
    located: frozenset[int]
    faults: tuple[Fault, ...]

    @property
    def images(self) -> list[ListLine]:
        """The lines whose image is there, each image once."""
        return [line for line in self.lines if line.number in self.located]

    @property
    def first_lines(self) -> dict[int, int]:
        """The number of the first line of each identity."""
        return {line.identity: line.number for line in reversed(self.lines)}


def read_list_file(folder: DataFolder, file: str, identify: Callable[[str], int]) -> ListFile:
    """Read a list. `identify` returns the identity in a path, or raises BadLine."""
    text = folder.read_text(file)
    if isinstance(text, Fault):
        return ListFile(file, (), frozenset(), (text,))
    lines: list[ListLine] = []
    faults: list[Fault] = []
    numbered = numbered_lines(text)
    for number, line in numbered:
        try:
            lines.append(_parse(number, line, identify))
        except BadLine as error:
            faults.append(Fault(file, number, str(error)))
    if not numbered:
        faults.append(Fault(file, None, "list is empty; restore it from the data set's archive"))
    found, missing = locate_images(folder, file, [(line.number, line.path) for line in lines])
    on_disk = tuple(line._replace(path=found.get(line.number, line.path)) for line in lines)
    return ListFile(file, on_disk, frozenset(found), (*faults, *missing))


def _parse(number: int, line: str, identify: Callable[[str], int]) -> ListLine:
    match = _LINE.fullmatch(line)
    if not match:
        raise BadLine(f"{quote(line)} is not '<relative path> <label>'; correct it")
    identity = identify(path := clean_path(match[1]))
    label = whole_number(match[2])
    if label is None:
        raise BadLine(f"label {quote(match[2])} is not a whole number; correct it")
    return ListLine(number, path, identity, label)


def label_warnings(listed: ListFile) -> Iterator[str]:
    """The first line on which labels group images differently than identities, as a warning."""
    identities: dict[int, int] = {}
    labels: dict[int, int] = {}
    for line in listed.lines:
        identity = identities.setdefault(line.label, line.identity)
        if identity != line.identity or labels.setdefault(line.identity, line.label) != line.label:
            yield (
                f"{listed.file}, line {line.number}: label {line.label} and identity {line.identity} "
                "contradict other lines; the identity in the path is used"
            )
            return
