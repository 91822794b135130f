"""What every layout of data offers: its divisions into people to train and to test on, and its faults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tsme.config import DatasetName
from tsme.data.types import Trial


@dataclass(frozen=True)
class Fault:
    """What is wrong with one file of the data set; `file` is relative to its root."""

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{place}: {self.message}"


@dataclass(frozen=True)
class Findings:
    """What the lists and folders of a data set say, without any image opened.

    `trials` hold all that is well formed, `faults` the rest; `warnings` are what is unusual but may be
    meant, such as other counts than the published ones.
    """

    trials: tuple[Trial, ...]
    faults: tuple[Fault, ...]
    warnings: tuple[str, ...]


class Dataset(Protocol):
    """A data set on disk in a known layout. Small, so that it can be sent to other processes."""

    @property
    def name(self) -> DatasetName:
        """What the layout is called on the command line."""

    @property
    def root(self) -> Path:
        """The folder that image paths are relative to."""

    def trials(self) -> list[int]:
        """Numbers of its divisions into training and test identities, ascending; [1] where there is one.

        Raises UserError if the data set is not there.
        """

    def read(self, trial: int) -> Trial:
        """One division. Raises UserError for its first fault, and for a trial there is not."""

    def lists(self) -> list[str]:
        """The files below `root`, existing ones only, that say which image belongs where."""

    def examine(self) -> Findings:
        """All that is wrong with lists and folders. Raises UserError if there is nothing to examine."""
