"""Paths in an object store, such as s3://bucket/run, with the methods of pathlib that this project uses.

Every URI that pyarrow supports is accepted. Ray writes checkpoints with pyarrow too, so one URI and one
set of credentials (from the environment or the machine's role) serve both. pyarrow is imported at the
first URI only: the method works without it.

Not built on universal_pathlib: its S3 part, s3fs, pins botocore to versions that boto3 and MLflow's
client do not accept, and would be a second client beside pyarrow's. It would also not replace `upload`:
an interrupted write through fsspec leaves half a file in place of the old one.
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

# pyarrow's names of the stores in which folders are only a part of file names.
NO_FOLDERS = ("s3", "gcs", "abfs")
PARALLEL_UPLOADS = 8
CHUNK_BYTES = 2**24
_URI = re.compile(r"(?P<store>[A-Za-z][\w+.-]*://[^/]*)(?P<key>/.*)?")


@dataclass(frozen=True, order=True)
class RemotePath:
    """A file or folder, by its URI. Can be sent to other processes.

    Methods behave like those of pathlib.Path. They raise JobFailed if the store refuses or does not
    answer.
    """

    uri: str

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.uri.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The last component."""
        return PurePosixPath(self.uri).name

    @property
    def stem(self) -> str:
        """The last component without its suffix."""
        return PurePosixPath(self.uri).stem

    @property
    def parent(self) -> RemotePath:
        """The folder that contains it."""
        return RemotePath(self.uri.rstrip("/").rpartition("/")[0])

    def with_name(self, name: str) -> RemotePath:
        """Another file in the same folder."""
        return self.parent / name

    def is_absolute(self) -> bool:
        """True: a URI does not depend on the working folder."""
        return True

    def resolve(self) -> RemotePath:
        """The path itself."""
        return self

    def mkdir(self) -> None:
        """Create the folder. Raises UserError if it cannot be written to."""
        try:
            with self._opened() as (files, path):
                files.create_dir(path)
        except JobFailed as error:
            raise UserError(str(error)) from error

    def exists(self) -> bool:
        """Whether there is a file, or a folder with files, at this path."""
        return self._type() != "NotFound"

    def is_file(self) -> bool:
        """Whether there is a file at this path."""
        return self._type() == "File"

    def is_dir(self) -> bool:
        """Whether there is a folder with files at this path."""
        return self._type() == "Directory"

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """The entries of the folder, without its subfolders, whose name matches."""
        names = [entry.base_name for entry in self.entries()]
        return (self / name for name in names if fnmatchcase(name, pattern))

    def entries(self, *, recursive: bool = False) -> list[Any]:
        """pyarrow's FileInfo of each entry of the folder; empty if there is no such folder."""
        from pyarrow.fs import FileSelector

        with self._opened() as (files, path):
            selector = FileSelector(path, allow_not_found=True, recursive=recursive)
            return list(files.get_file_info(selector))

    def download(self, target: Path) -> None:
        """Copy the file, or the folder with its content. Raises FileNotFoundError if it is missing."""
        from pyarrow.fs import LocalFileSystem, copy_files

        with self._opened() as (files, path):
            local = LocalFileSystem()
            copy_files(path, str(target), source_filesystem=files, destination_filesystem=local)

    def upload(self, source: Path) -> None:
        """Copy a local file to this path, whole or not at all."""
        with self._opened() as (files, path):
            folder, _, name = path.rpartition("/")
            temporary = f"{folder}/.{name}.{uuid4().hex[:8]}"
            try:
                # Closing the stream after an error or Ctrl-C makes a file of what was sent so far.
                _send(source, files, temporary)
                files.move(temporary, path)
            except BaseException:
                with suppress(OSError):
                    files.delete_file(temporary)
                raise

    def upload_folder(self, source: Path) -> None:
        """Copy all files of a local folder to this path, in no particular order."""
        with self._opened() as (files, path), ThreadPoolExecutor(PARALLEL_UPLOADS) as pool:
            uploads = [
                pool.submit(_send, file, files, f"{path}/{file.relative_to(source).as_posix()}")
                for file in source.rglob("*")
                if file.is_file()
            ]
            for future in uploads:
                future.result()

    def _type(self) -> str:
        with self._opened() as (files, path):
            return str(files.get_file_info(path).type.name)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, str]]:
        """pyarrow's file system, and the path in it."""
        store, key = _parts(self.uri)
        with store_errors(self):
            files, root = _file_system(store)
            yield files, f"{root}/{key}" if key else root or "/"


AnyPath = Path | RemotePath


@contextmanager
def store_errors(path: AnyPath) -> Iterator[None]:
    """Turn pyarrow's errors, except FileNotFoundError, into JobFailed naming the path."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise JobFailed(f"{path}: {_reason(error)}") from error


def any_path(text: str) -> AnyPath:
    """The path of a local path or URI given by a user.

    Raises UserError for a URI that cannot be used: an unknown kind of store, a bucket that does not
    exist, a store that refuses or does not answer.
    """
    if text.startswith("file://"):
        return Path(unquote(text.removeprefix("file://")))
    if not _URI.match(text):
        return Path(text)
    if re.search(r":[^/]*@|[?#]", text.partition("://")[2]):  # would be printed and saved
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
    """For s3://bucket/run/stages, ("s3://bucket", "run/stages")."""
    match = _URI.fullmatch(uri)
    assert match, uri
    return match["store"], unquote(match["key"] or "").strip("/")


@cache
def _file_system(store: str) -> tuple[Any, str]:
    """pyarrow's file system for a store, and the root of paths in it; cached, as it holds connections.

    Raises UserError if the kind of store is unknown or its library is not installed.
    """
    try:
        from pyarrow.fs import FileSystem

        files, root = FileSystem.from_uri(f"{store}/")
    except (ImportError, ValueError) as error:
        known = "s3://, gs://, abfs:// and others of pyarrow's, fsspec's as fsspec+sftp://"
        raise UserError(f"{store}: {_reason(error)} (known are {known})") from error
    return files, root.rstrip("/")


def _send(source: Path, files: Any, path: str) -> None:
    """Write a file. pyarrow's copy_files does not report an upload that fails at its end."""
    if files.type_name not in NO_FOLDERS:
        files.create_dir(path.rpartition("/")[0])
    with source.open("rb") as stream, files.open_output_stream(path) as target:
        shutil.copyfileobj(stream, target, CHUNK_BYTES)


def _reason(error: Exception) -> str:
    """The store's message, without request numbers and pyarrow's options."""
    message = re.sub(r"^When .*?: (?=AWS Error)", "", str(error))
    return re.split(r" \(Request ID|\. To create|\. Detail: \[", message, maxsplit=1)[0]
