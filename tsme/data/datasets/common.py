"""What layouts made of folders and small text files share: reading them, and the faults in them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tsme.data.types import Dataset, Fault, ImageList, Modality, Split, Trial
from tsme.errors import UserError

EXTENSIONS = (".bmp", ".png", ".jpg", ".jpeg")
# Nine digits keep every identity inside int64.
_IDENTITY = re.compile(r"0{0,8}[1-9][0-9]{0,8}")
_FEWEST = 2  # one person alone can neither be told apart from another nor ranked


class Photo(NamedTuple):
    """One image: its path relative to the root, who is on it, and which camera took it."""

    path: str
    identity: int
    camera: int


@dataclass(frozen=True)
class IdFile:
    """A file of comma-separated identities: each one's first line, and what is wrong with the rest."""

    file: str
    lines: dict[int, int]
    faults: tuple[Fault, ...]


def require_folder(root: Path, title: str, parts: tuple[str, ...]) -> None:
    """Raise UserError unless `root` is a folder with at least one of these folders in it."""
    advice = f"give the {title} folder that holds {', '.join(parts)}"
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; {advice}")
    if not any((root / part).is_dir() for part in parts):
        raise UserError(f"{root}: this is no {title} folder; {advice}")


def only_trial(dataset: Dataset, title: str, trial: int) -> Trial:
    """The one trial of a data set that has no more; UserError for another number or the first fault."""
    if trial != 1:
        raise UserError(f"trial {trial}: {title} has only trial 1")
    findings = dataset.examine()
    for fault in findings.faults:
        raise UserError(f"{dataset.root}/{fault}")
    return findings.trials[0]


def read_text(root: Path, file: str) -> str | Fault:
    """A UTF-8 text file, or why there is none."""
    try:
        # Editors on Windows may begin the file with a byte-order mark.
        return (root / file).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return Fault(file, None, "file is missing; restore it from the data set's archive")
    except UnicodeDecodeError:
        return Fault(file, None, "file is not UTF-8 text; restore it from the data set's archive")
    except OSError as problem:
        return Fault(file, None, f"file cannot be read ({problem.strerror or problem}); restore it")


def read_id_file(root: Path, file: str) -> IdFile:
    """Parse a file such as `3,8,12`; numbers may go on over several lines."""
    text = read_text(root, file)
    if isinstance(text, Fault):
        return IdFile(file, {}, (text,))
    lines: dict[int, int] = {}
    faults: list[Fault] = []
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.strip().removesuffix(",").split(",") if line.strip() else []
        for word in map(str.strip, words):
            if not _IDENTITY.fullmatch(word):
                message = f"{quote(word)} is not a person's number; write 1, 2, ... with commas between"
                faults.append(Fault(file, number, message))
            elif int(word) in lines:
                message = f"person {int(word)} is listed twice; remove one"
                faults.append(Fault(file, number, message))
            else:
                lines[int(word)] = number
    if not lines and not faults:
        faults.append(Fault(file, None, "file is empty; restore it from the data set's archive"))
    return IdFile(file, lines, tuple(faults))


def overlap_faults(ids: IdFile, other: str, lines: Mapping[int, int]) -> Iterator[Fault]:
    """People of `ids` who are in the file `other` too, where `lines` says on which line each is."""
    for identity in sorted(ids.lines.keys() & lines.keys()):
        message = f"person {identity} is in {other}, line {lines[identity]}, too; keep one of the two"
        yield Fault(ids.file, ids.lines[identity], message)


def absence_faults(ids: IdFile, photos: Iterable[Photo], places: str) -> Iterator[Fault]:
    """People of `ids` without any image; `places` are the folders looked in."""
    seen = {photo.identity for photo in photos}
    for identity in sorted(ids.lines.keys() - seen):
        message = f"person {identity} has no image in any folder {places}/{identity:04d}"
        yield Fault(ids.file, ids.lines[identity], f"{message}; restore one or remove the number")


def scan_camera(
    root: Path, folder: str, camera: int, people: Iterable[int]
) -> tuple[list[Photo], list[Fault]]:
    """The images `<folder>/<four-digit identity>/*` of these people, in no order.

    A person may lack a folder, but the camera may not. Files that are no images, such as a file
    browser's thumbnails, do no harm. One scan per folder: on network storage that is far cheaper than
    asking file by file.
    """
    folders = entries(root, folder)
    if isinstance(folders, Fault):
        return [], [folders]
    present = {entry.name for entry in folders}
    photos: list[Photo] = []
    faults: list[Fault] = []
    for identity in people:
        if f"{identity:04d}" not in present:
            continue
        person = f"{folder}/{identity:04d}"
        files = entries(root, person)
        if isinstance(files, Fault):
            faults.append(files)
            continue
        images = filter(_is_image, files)
        photos.extend(Photo(f"{person}/{image.name}", identity, camera) for image in images)
    return photos, faults


def in_drawing_order(photos: Iterable[Photo]) -> list[Photo]:
    """By identity, camera and file name: the order in which published results go through a gallery.

    Their random draws depend on it. Paths of a person and a camera differ in the file name alone.
    """
    return sorted(photos, key=lambda photo: (photo.identity, photo.camera, photo.path))


def listing_faults(file: str, listed: Iterable[tuple[int, str]], present: Set[str]) -> dict[int, Fault]:
    """By its line, each (line, path) of a list whose image is listed before or is not `present`."""
    first: dict[str, int] = {}
    faults: dict[int, Fault] = {}
    for line, path in listed:
        earlier = first.setdefault(path, line)
        if earlier != line:
            message = f"image {quote(path)} is already on line {earlier}; list every image once"
            faults[line] = Fault(file, line, message)
        elif path not in present:
            message = f"image {quote(path)} is missing; restore it or remove the line"
            faults[line] = Fault(file, line, message)
    return faults


def files_beside(root: Path, paths: Iterable[str]) -> frozenset[str]:
    """Every file in the folders of these paths, relative to `root`; none of a folder not there."""
    found: list[str] = []
    for folder in {path.rpartition("/")[0] for path in paths}:  # "" is the root
        files = entries(root, folder)
        if not isinstance(files, Fault):
            prefix = f"{folder}/" if folder else ""
            found.extend(prefix + entry.name for entry in files if entry.is_file())
    return frozenset(found)


def image_list(root: Path, modality: Modality, photos: Iterable[Photo]) -> ImageList:
    """These images as a list, in unchanged order."""
    rows = list(photos)
    identities = np.array([photo.identity for photo in rows], dtype=np.int64)
    cameras = np.array([photo.camera for photo in rows], dtype=np.int64)
    return ImageList(root, modality, tuple(photo.path for photo in rows), identities, cameras)


def trainable(split: Split) -> tuple[Split, list[str]]:
    """The people seen in both modalities, and a warning if that leaves any out.

    A stage that pairs a person's visible with infrared images can do nothing with the others.
    """
    left_out = sorted(split.everyone - set(split.identities))
    if not left_out:
        return split, []
    what = f"{len(left_out)} training identities are seen in one modality only, the first {left_out[0]}"
    return split.keep(split.identities), [f"{what}; they are left out, as training takes both"]


def scarcity_faults(split: Split, file: str, who: str, fewest: int = _FEWEST) -> Iterator[Fault]:
    """Whether `split` has too few people to train on or to rank; `file` lists them, `who` they are."""
    count = len(split.identities)
    if count < fewest:
        what = f"only {count} of the {who} seen in both modalities"
        yield Fault(file, None, f"{what}; list at least {fewest} such people")


def unusual_counts(title: str, counts: Iterable[tuple[int, int, str]]) -> Iterator[str]:
    """Where (found, published, of what) differ: such data gives other results than the published."""
    for found, published, what in counts:
        if found != published:
            yield f"{found} {what}; the published {title} has {published}"


def quote(text: str) -> str:
    """The text as one line, cut where a damaged file would fill the screen."""
    return repr(text if len(text) <= 120 else text[:117] + "...")


def entries(root: Path, folder: str) -> list[os.DirEntry[str]] | Fault:
    """What is in a folder, or why that cannot be told."""
    try:
        with os.scandir(root / folder) as found:
            return list(found)
    except FileNotFoundError:
        return Fault(folder, None, "folder is missing; restore it from the data set's archive")
    except (OSError, ValueError) as problem:  # ValueError: a zero byte in a damaged list's path
        reason = getattr(problem, "strerror", None) or problem
        return Fault(folder, None, f"folder cannot be listed ({reason}); restore it")


def _is_image(entry: os.DirEntry[str]) -> bool:
    # A leading dot marks another system's notes on a file, which repeat the file's name.
    hidden = entry.name.startswith(".")
    return not hidden and entry.name.lower().endswith(EXTENSIONS) and entry.is_file()
