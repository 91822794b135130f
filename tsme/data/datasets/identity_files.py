"""Files of comma-separated identities, and a folder of images for each identity: SYSU-MM01 and LLCM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tsme.data.datasets.folder import DataFolder, numbered_lines, quote, whole_number
from tsme.data.datasets.image_records import ImageRecord
from tsme.data.types import Fault


@dataclass(frozen=True)
class IdentityFile:
    """A file of identities: the line of each, and the faults of the file."""

    file: str
    lines: dict[int, int]
    faults: tuple[Fault, ...]


def read_identity_file(folder: DataFolder, file: str) -> IdentityFile:
    """Read a file such as `3,8,12`, which may have several lines."""
    text = folder.read_text(file)
    if isinstance(text, Fault):
        return IdentityFile(file, {}, (text,))
    lines: dict[int, int] = {}
    faults: list[Fault] = []
    for number, line in numbered_lines(text):
        for word in map(str.strip, line.removesuffix(",").split(",")):
            identity = whole_number(word)
            if identity and identity not in lines:
                lines[identity] = number
                continue
            problem = f"identity {identity} is listed twice; remove one"
            if not identity:
                problem = f"{quote(word)} is not an identity; write 1, 2, ... separated by commas"
            faults.append(Fault(file, number, problem))
    if not lines and not faults:
        faults.append(Fault(file, None, "file is empty; restore it from the data set's archive"))
    return IdentityFile(file, lines, tuple(faults))


def overlap_faults(listed: IdentityFile, other: str, lines: Mapping[int, int]) -> Iterator[Fault]:
    """A fault for each identity that is also in the file `other`, on the line that `lines` gives."""
    for identity in sorted(listed.lines.keys() & lines.keys()):
        message = f"identity {identity} is also in {other}, line {lines[identity]}; keep one of the two"
        yield Fault(listed.file, listed.lines[identity], message)


def absence_faults(listed: IdentityFile, records: Iterable[ImageRecord], places: str) -> Iterator[Fault]:
    """A fault for each identity without images; `places` are the folders searched."""
    seen = {record.identity for record in records}
    for identity in sorted(listed.lines.keys() - seen):
        message = f"identity {identity} has no image in any folder {places}/{identity:04d}"
        yield Fault(listed.file, listed.lines[identity], f"{message}; restore one or remove the number")


def scan_camera(
    folder: DataFolder, camera_folder: str, camera: int, identities: Iterable[int]
) -> tuple[list[ImageRecord], list[Fault]]:
    """The images `<camera_folder>/<four-digit identity>/*` of these identities, unsorted.

    An identity may have no folder, but the camera must have one. Files that are not images are ignored.
    """
    camera_listing = folder.listing(camera_folder)
    if isinstance(camera_listing, Fault):
        return [], [camera_listing]
    records: list[ImageRecord] = []
    faults: list[Fault] = []
    for identity in identities:
        name = f"{identity:04d}"
        if name not in camera_listing.entries:
            continue
        listing = folder.listing(camera_listing.path(name))
        if isinstance(listing, Fault):
            faults.append(listing)
        else:
            records.extend(ImageRecord(path, identity, camera) for path in listing.images)
    return records, faults
