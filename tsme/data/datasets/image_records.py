"""Images found on disk, turned into lists; and checks that all layouts share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from tsme.data.datasets.folder import DataFolder, quote
from tsme.data.types import Fault, ImageList, Modality, Split

MIN_IDENTITIES = 2  # a single identity can be neither classified nor ranked


class ImageRecord(NamedTuple):
    """One image: its path relative to the root, its identity and its camera."""

    path: str
    identity: int
    camera: int


def image_list(modality: Modality, records: Iterable[ImageRecord]) -> ImageList:
    """The images as a list, in unchanged order."""
    rows = list(records)
    identities = np.array([row.identity for row in rows], dtype=np.int64)
    cameras = np.array([row.camera for row in rows], dtype=np.int64)
    return ImageList(modality, tuple(row.path for row in rows), identities, cameras)


def in_drawing_order(records: Iterable[ImageRecord]) -> list[ImageRecord]:
    """Sorted by identity, camera and file name: the order that published random draws depend on."""
    return sorted(records, key=lambda record: (record.identity, record.camera, record.path))


def locate_images(
    folder: DataFolder, file: str, listed: Iterable[tuple[int, str]]
) -> tuple[dict[int, str], list[Fault]]:
    """Find the image of each (line, path) of a list: its path on disk by line, and faults.

    A line has a fault if its image is missing or is also on an earlier line. A missing top folder is
    one fault, not one for each of its images.
    """
    found: dict[int, str] = {}
    first: dict[str, int] = {}
    missing_folders: dict[str, Fault] = {}
    faults: list[Fault] = []
    for line, path in listed:
        top = path.partition("/")[0] if "/" in path else ""
        on_disk = folder.find_file(path)
        earlier = first.setdefault(on_disk or path, line)
        if isinstance(folder.listing(top), Fault):
            message = f"folder {quote(top)}, first named on line {line}, is missing; restore it"
            missing_folders.setdefault(top, Fault(file, None, message))
        elif on_disk is None or earlier != line:
            problem = "is missing; restore it or remove the line"
            if earlier != line:
                problem = f"is already on line {earlier}; list every image once"
            faults.append(Fault(file, line, f"image {quote(path)} {problem}"))
        else:
            found[line] = on_disk
    return found, [*missing_folders.values(), *faults]


def drop_single_modality(split: Split) -> tuple[Split, list[str]]:
    """Only the identities seen in both modalities, and a warning if that excludes any.

    Training pairs visible with infrared images of an identity, so it cannot use the others.
    """
    excluded = sorted(split.all_identities - set(split.identities))
    if not excluded:
        return split, []
    what = f"{len(excluded)} training identities are seen in one modality only, the first {excluded[0]}"
    return split.keep(split.identities), [f"{what}; they are excluded, as training requires both"]


def too_few_faults(split: Split, file: str, which: str, least: int = MIN_IDENTITIES) -> list[Fault]:
    """A fault if `split`, listed in `file`, has too few identities to train on or to rank."""
    count = len(split.identities)
    if count >= least:
        return []
    message = (
        f"only {count} of the {which} seen in both modalities; list at least {least} such identities"
    )
    return [Fault(file, None, message)]


def unusual_counts(title: str, counts: Iterable[tuple[int, int, str]]) -> Iterator[str]:
    """A warning for each (found, published, of what) that differs: results then do not compare."""
    for found, published, what in counts:
        if found != published:
            yield f"{found} {what}; the published {title} has {published}"
