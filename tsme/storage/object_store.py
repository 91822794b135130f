"""Files in a store with URIs such as s3://bucket/run: what this project uses of pathlib, for those.

Any URI that pyarrow knows will do. Ray writes checkpoints by pyarrow too, so one URI is a run's folder
for both, with the same credentials: those of the environment or of the machine's role. pyarrow is
imported where a URI is met, not before: the method works without it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

from tsme.errors import JobFailed, UserError

# Kinds of stores, in pyarrow's words, where a folder is a part of a name.
NO_FOLDERS = ("s3", "gcs", "abfs")
UPLOADS = 8  # at once
CHUNK = 2**24  # bytes
_URI = re.compile(r"(?P<store>[A-Za-z][\w+.-]*://[^/]*)(?P<key>/.*)?")


@dataclass(frozen=True, order=True)
class RemotePath:
    """A file or folder by its URI; small, so that it can be sent to other processes.

    Methods do what those of pathlib.Path do, and raise JobFailed where the store refuses or does not
    answer.
    """

    uri: str

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.uri.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(self.uri).name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return PurePosixPath(self.uri).stem

    @property
    def parent(self) -> RemotePath:
        """The folder it is in."""
        return RemotePath(self.uri.rstrip("/").rpartition("/")[0])

    def with_name(self, name: str) -> RemotePath:
        """Another file of the same folder."""
        return self.parent / name

    def is_absolute(self) -> bool:
        """True: it means the same everywhere."""
        return True

    def resolve(self) -> RemotePath:
        """Itself."""
        return self

    def mkdir(self) -> None:
        """Make the folder. Raises UserError if nothing can be written there."""
        try:
            with self._opened() as (files, path):
                files.create_dir(path)
        except JobFailed as error:
            raise UserError(str(error)) from error

    def exists(self) -> bool:
        """Whether there is a file, or anything below."""
        return self._type() != "NotFound"

    def is_file(self) -> bool:
        """Whether there is such a file."""
        return self._type() == "File"

    def is_dir(self) -> bool:
        """Whether there is anything below."""
        return self._type() == "Directory"

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """What lies in the folder, not deeper, under a name that matches."""
        names = [entry.base_name for entry in self.entries()]
        return (self / name for name in names if fnmatchcase(name, pattern))

    def entries(self, *, recursive: bool = False) -> list[Any]:
        """pyarrow's FileInfo of all that lies in the folder, none if there is no such folder."""
        from pyarrow.fs import FileSelector

        with self._opened() as (files, path):
            wanted = FileSelector(path, allow_not_found=True, recursive=recursive)
            return list(files.get_file_info(wanted))

    def download(self, target: Path) -> None:
        """Copy the file, or the folder with all that is in it; FileNotFoundError if it is not there."""
        from pyarrow.fs import LocalFileSystem, copy_files

        with self._opened() as (files, path):
            here = LocalFileSystem()
            copy_files(path, str(target), source_filesystem=files, destination_filesystem=here)

    def upload(self, source: Path) -> None:
        """Put a file here, whole or not at all."""
        with self._opened() as (files, path):
            folder, _, name = path.rpartition("/")
            temporary = f"{folder}/.{name}.{uuid4().hex[:8]}"
            try:
                # What was sent before an error or Ctrl-C becomes a file when the stream is closed.
                _send(source, files, temporary)
                files.move(temporary, path)
            except BaseException:
                with suppress(OSError):
                    files.delete_file(temporary)
                raise

    def upload_folder(self, source: Path) -> None:
        """Put all files of a folder here, in no order."""
        with self._opened() as (files, path), ThreadPoolExecutor(UPLOADS) as pool:
            sent = [
                pool.submit(_send, file, files, f"{path}/{file.relative_to(source).as_posix()}")
                for file in source.rglob("*")
                if file.is_file()
            ]
            for future in sent:
                future.result()

    def _type(self) -> str:
        with self._opened() as (files, path):
            return str(files.get_file_info(path).type.name)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, str]]:
        """pyarrow's file system and the path in it."""
        store, key = _parts(self.uri)
        with answering(self):
            files, root = _file_system(store)
            yield files, f"{root}/{key}" if key else root or "/"


AnyPath = Path | RemotePath


@contextmanager
def answering(path: AnyPath) -> Iterator[None]:
    """Turns what pyarrow raises in the block into JobFailed naming the path; not FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise JobFailed(f"{path}: {_reason(error)}") from error


def any_path(text: str) -> AnyPath:
    """The path or URI that a user gave.

    Raises UserError for a URI that cannot be one of ours: of an unknown kind of store, of a store that
    does not answer or refuses, of a bucket that there is not.
    """
    if text.startswith("file://"):
        return Path(unquote(text.removeprefix("file://")))
    if not _URI.match(text):
        return Path(text)
    if re.search(r":[^/]*@|[?#]", text.partition("://")[2]):  # it would be printed and saved
        raise UserError(
            f"{text.partition('://')[0]}://…: a URI with a password or options; they belong in the "
            "environment (of S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL)"
        )
    path, store = RemotePath(text), RemotePath(_parts(text)[0])
    try:
        if not path.exists() and not store.exists():
            raise UserError(f"{text}: there is no {store}; create it first")
    except JobFailed as error:
        raise UserError(str(error)) from error
    return path


def _parts(uri: str) -> tuple[str, str]:
    """("s3://bucket", "run/stages") of s3://bucket/run/stages."""
    match = _URI.fullmatch(uri)
    assert match, uri
    return match["store"], unquote(match["key"] or "").strip("/")


@cache
def _file_system(store: str) -> tuple[Any, str]:
    """pyarrow's file system of a store, and where paths begin in it; made once, it holds connections.

    Raises UserError if there is none of this kind, or if a library it needs is not installed.
    """
    try:
        from pyarrow.fs import FileSystem

        files, root = FileSystem.from_uri(f"{store}/")
    except (ImportError, ValueError) as error:
        known = "s3://, gs://, abfs:// and others of pyarrow's, fsspec's as fsspec+sftp://"
        raise UserError(f"{store}: {_reason(error)} (known are {known})") from error
    return files, root.rstrip("/")


def _send(source: Path, files: Any, path: str) -> None:
    """Write a file. Not by pyarrow's copy_files, which is silent about an upload failing at its end."""
    if files.type_name not in NO_FOLDERS:
        files.create_dir(path.rpartition("/")[0])
    with source.open("rb") as stream, files.open_output_stream(path) as target:
        shutil.copyfileobj(stream, target, CHUNK)


def _reason(error: Exception) -> str:
    """What a user can do something with: the store's words, no request number, no option of pyarrow."""
    words = re.sub(r"^When .*?: (?=AWS Error)", "", str(error))
    return re.split(r" \(Request ID|\. To create|\. Detail: \[", words, maxsplit=1)[0]
