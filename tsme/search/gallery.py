"""The images of a gallery: any folder, a CSV or Parquet file, or a pattern such as 'cams/*/*.png'."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tsme.data.datasets.table_file import TableRow, read_table
from tsme.data.types import MODALITIES, Modality
from tsme.errors import UserError

EXTENSIONS = (".bmp", ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
COLUMNS = ("path", "identity", "modality", "camera")
WILDCARDS = "*?["


class GalleryImage(NamedTuple):
    """An image file: its path relative to the gallery's root, and what the user calls it.

    `modality` is None where the image itself is to tell (see `tsme.search.embedder`).
    """

    path: str
    label: str
    modality: Modality | None


@dataclass(frozen=True)
class Gallery:
    """The images of a gallery, in the order of the index; `root` is an absolute folder."""

    root: Path
    images: list[GalleryImage]

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with the list, and with any file's size or time."""
        content = hashlib.sha256(os.fsencode(self.root))
        for image in self.images:
            try:
                status = (self.root / image.path).stat()
            except OSError:  # reported when the image is read
                content.update(repr(image).encode())
            else:
                content.update(repr((*image, status.st_size, status.st_mtime_ns)).encode())
        return content.hexdigest()[:16]


def read_gallery(source: str, modality: Modality | None = None) -> Gallery:
    """The images of a folder (with subfolders), a CSV or Parquet file, or a glob pattern.

    Labels are the subfolder of an image, or the column `identity` of a table. `modality` is that of
    all images; without it, a table's column decides, and otherwise each image.
    Raises UserError if there are no images.
    """
    path = Path(source)
    if path.is_dir():
        gallery = _folder(path.resolve())
    elif path.is_file():
        gallery = _table(path.resolve())
    elif any(mark in source for mark in WILDCARDS):
        gallery = _pattern(source)
    else:
        raise UserError(f"{source}: no such folder, CSV file or image pattern")
    if not gallery.images:
        raise UserError(f"{source}: holds no images ({', '.join(EXTENSIONS)})")
    if modality is None:
        return gallery
    return Gallery(gallery.root, [image._replace(modality=modality) for image in gallery.images])


def _folder(root: Path) -> Gallery:
    return Gallery(root, [_labelled(path) for path in _walk(root, "")])


def _walk(root: Path, folder: str) -> Iterator[str]:
    """Paths of the image files below a folder, relative to `root`, sorted; hidden ones are left out."""
    try:
        with os.scandir(root / folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{root / folder}: cannot be listed ({error.strerror or error})") from error
    for entry in listed:
        path = f"{folder}/{entry.name}" if folder else entry.name
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, path)
        elif entry.name.lower().endswith(EXTENSIONS):
            yield path


def _pattern(pattern: str) -> Gallery:
    paths = [
        os.path.abspath(path)
        for path in sorted(glob.glob(pattern, recursive=True))
        if path.lower().endswith(EXTENSIONS) and os.path.isfile(path)
    ]
    if not paths:
        return Gallery(Path.cwd(), [])
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    return Gallery(Path(root), [_labelled(os.path.relpath(path, root)) for path in paths])


def _labelled(path: str) -> GalleryImage:
    return GalleryImage(path, os.path.dirname(path), None)


def _table(file: Path) -> Gallery:
    """The rows of a table: `path` relative to the file; `identity` and `modality` if it has them."""
    table = read_table(file, _content(file), COLUMNS)
    if "path" not in table.header:
        raise UserError(f"{file}: has no column named path")
    if table.faults:
        raise UserError(str(table.faults[0]))
    return Gallery(file.parent, [_row(file, row) for row in table.rows])


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error})") from error


def _row(file: Path, row: TableRow) -> GalleryImage:
    path, modality = row.cells["path"], row.cells.get("modality", "").casefold() or None
    if modality not in (None, *MODALITIES):
        known = " or ".join(MODALITIES)
        raise UserError(f"{file}, line {row.line}: modality {modality!r} is unknown; write {known}")
    if not path:
        raise UserError(f"{file}, line {row.line}: path is empty; fill it in")
    return GalleryImage(path, row.cells.get("identity", ""), modality)
