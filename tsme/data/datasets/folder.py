"""The folder of a data set: each list file and each folder in it is read once."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from tsme.data.types import Fault
from tsme.errors import UserError

EXTENSIONS = (".bmp", ".png", ".jpg", ".jpeg")
_LINE_END = re.compile(r"\r\n?|\n")
# Nine digits fit in int64. Spreadsheets turn 7 into 7.0.
_WHOLE_NUMBER = re.compile(r"0*([0-9]{1,9})(?:\.0*)?")


class BadLine(ValueError):
    """Why a line of a list is not valid."""


class Listing:
    """The entries of one folder; `folder` is its path on disk, relative to the root."""

    def __init__(self, folder: str, entries: Iterable[os.DirEntry[str]]) -> None:
        self.folder = folder
        self.entries = {entry.name: entry for entry in entries}

    def path(self, name: str) -> str:
        """The path of an entry, relative to the root."""
        # One string for all trials that list the image: less memory, and less to send.
        return sys.intern(f"{self.folder}/{name}" if self.folder else name)

    def find(self, name: str) -> os.DirEntry[str] | None:
        """The entry of this name, else the only one whose name differs in letter case alone."""
        return self.entries.get(name) or self._by_casefold.get(name.casefold())

    @property
    def images(self) -> list[str]:
        """Paths of the image files."""
        return [self.path(name) for name, entry in self.entries.items() if _is_image(entry)]

    @cached_property
    def _by_casefold(self) -> dict[str, os.DirEntry[str] | None]:
        found: dict[str, os.DirEntry[str] | None] = {}
        for name, entry in self.entries.items():
            folded = name.casefold()
            found[folded] = None if folded in found else entry
        return found


class DataFolder:
    """Reads the text files and lists the folders of a data set; paths are relative to `root`.

    On network storage, one listing per folder is far cheaper than one request per file. Names may
    differ from those on disk in letter case. `digests` are the SHA-256 of the text files read so far.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.digests: dict[str, bytes] = {}
        self._listings: dict[str, Listing | Fault] = {}

    def require(self, title: str, folders: tuple[str, ...]) -> None:
        """Raise UserError unless the root has at least one of these folders."""
        advice = f"give the {title} folder that contains {', '.join(folders)}"
        if not self.root.is_dir():
            raise UserError(f"{self.root}: no such folder; {advice}")
        if all(isinstance(self.listing(folder), Fault) for folder in folders):
            raise UserError(f"{self.root}: this is no {title} folder; {advice}")

    def listing(self, folder: str) -> Listing | Fault:
        """The entries of a folder, or why they cannot be listed."""
        if folder not in self._listings:
            self._listings[folder] = self._list(folder)
        return self._listings[folder]

    def find_file(self, path: str) -> str | None:
        """The path of a file as on disk; None if there is no such file."""
        found = self._find(path)
        return found[0] if found and found[1].is_file() else None

    def read_text(self, file: str) -> str | Fault:
        """The content of a text file, or why it cannot be read."""
        content = self._read_bytes(file)
        try:
            return content if isinstance(content, Fault) else decode_text(content)
        except UnicodeError:
            return Fault(file, None, "file is not UTF-8 or UTF-16 text; save it as UTF-8")

    def _read_bytes(self, file: str) -> bytes | Fault:
        path = self.find_file(file) or file
        try:
            content = (self.root / path).read_bytes()
        except FileNotFoundError:
            return Fault(file, None, "file is missing; restore it from the data set's archive")
        except OSError as error:
            return Fault(file, None, f"file cannot be read ({error.strerror or error}); restore it")
        self.digests[path] = hashlib.sha256(content).digest()
        return content

    def _find(self, path: str) -> tuple[str, os.DirEntry[str]] | None:
        parent, _, name = path.rpartition("/")
        listing = self.listing(parent)
        entry = None if isinstance(listing, Fault) else listing.find(name)
        if isinstance(listing, Fault) or entry is None:
            return None
        return listing.path(entry.name), entry

    def _list(self, folder: str) -> Listing | Fault:
        try:
            with os.scandir(self.root / folder) as entries:
                return Listing(folder, entries)
        except FileNotFoundError:
            found = self._find(folder) if folder else None
            if found and found[0] != folder:
                return self.listing(found[0])
            return Fault(folder, None, "folder is missing; restore it from the data set's archive")
        except (OSError, ValueError) as error:  # ValueError: a path with a zero byte in a damaged list
            reason = getattr(error, "strerror", None) or error
            return Fault(folder, None, f"folder cannot be listed ({reason}); restore it")


def decode_text(content: bytes) -> str:
    """Text from UTF-8 or, if it begins with its byte-order mark, UTF-16. Raises UnicodeError."""
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf16 else "utf-8-sig")


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """The lines that are not blank, stripped, with their numbers; any system's line ends."""
    lines = enumerate(_LINE_END.split(text), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def clean_path(text: str) -> str:
    """A listed path with forward slashes and without `./` and `//`.

    Raises BadLine if it is absolute or contains `..`.
    """
    path = text.replace("\\", "/")
    if path.startswith("/") or PureWindowsPath(text).drive:
        raise BadLine(f"path {quote(text)} is absolute; write it relative to the data set's folder")
    if ".." in path.split("/"):
        raise BadLine(f"path {quote(text)} contains '..'; keep images below the data set's folder")
    return PurePosixPath(path).as_posix()


def whole_number(text: str) -> int | None:
    """The number that the text is, also if written as 007 or 7.0; None for any other text."""
    match = _WHOLE_NUMBER.fullmatch(text)
    return int(match[1]) if match else None


def quote(text: str) -> str:
    """The text on one line, shortened so that a damaged file does not fill the screen."""
    return repr(text if len(text) <= 120 else text[:117] + "...")


def _is_image(entry: os.DirEntry[str]) -> bool:
    # macOS writes a companion file, ._NAME, for each file on a foreign file system.
    hidden = entry.name.startswith(".")
    return not hidden and entry.name.lower().endswith(EXTENSIONS) and entry.is_file()
