"""RegDB: ten fixed trials over 412 identities, each with ten visible and ten thermal images.

Layout: images `Visible/<identity>/<name>_<identity>.bmp` and `Thermal/...`, lists
`idx/{train,test}_{visible,thermal}_{1..10}.txt`. Nguyen et al., Sensors 17(3), 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tsme.data.datasets.folder import DataFolder
from tsme.data.datasets.image_lists import label_warnings
from tsme.data.datasets.image_records import ImageRecord, image_list
from tsme.data.datasets.regdb_lists import (
    FOLDERS,
    SPLITS,
    SplitName,
    TrialLists,
    identities_of,
    list_files,
    read_lists,
    trial_faults,
)
from tsme.data.types import Dataset, Fault, ImageList, Modality, Split, Trial
from tsme.errors import UserError

TRIALS = 10
CAMERAS: dict[Modality, int] = {"visible": 1, "infrared": 2}  # mounted side by side
_PUBLISHED_IDENTITIES = 412
_PUBLISHED_SPLIT = 206
_PUBLISHED_IMAGES = 2060


def read_regdb(root: Path) -> Dataset:
    """Scan a RegDB folder: the one that contains idx, Visible and Thermal.

    A trial that lacks some of its lists has faults and is not among the trials. Raises UserError if
    there is no such folder, no list, or no folder of images.
    """
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder; give the RegDB folder that contains idx, Visible and Thermal"
        )
    folder = DataFolder(root)
    files = {
        trial: [folder.find_file(file) for file in list_files(trial).values()]
        for trial in range(1, TRIALS + 1)
    }
    lists = {trial: read_lists(folder, trial) for trial, found in files.items() if any(found)}
    if not lists:
        expected = "idx/{train,test}_{visible,thermal}_{1..10}.txt"
        raise UserError(f"{root}: no trial has its four lists; expected {expected} in this folder")
    complete = [trial for trial, found in files.items() if all(found)]
    return Dataset(
        name="regdb",
        location=root,
        trials={trial: _trial(trial, lists[trial]) for trial in complete},
        lists={
            file: folder.digests[file]
            for trial in complete
            for file in files[trial]
            if file in folder.digests
        },
        faults_by_trial={trial: tuple(trial_faults(found)) for trial, found in lists.items()},
        warnings=tuple(_warnings(lists, _image_files(folder))),
    )


def _trial(number: int, lists: TrialLists) -> Trial:
    return Trial(number, _split(lists, "train"), _split(lists, "test"))


def _split(lists: TrialLists, split: SplitName) -> Split:
    def images(modality: Modality) -> ImageList:
        lines = lists[split, modality].images
        records = (ImageRecord(line.path, line.identity, CAMERAS[modality]) for line in lines)
        return image_list(modality, records)

    return Split(images("visible"), images("infrared"))


def _image_files(folder: DataFolder) -> set[str]:
    """All images `Visible/*/*` and `Thermal/*/*`. Raises UserError if a folder cannot be listed."""
    images: set[str] = set()
    for modality_folder in FOLDERS.values():
        listing = folder.listing(modality_folder)
        if isinstance(listing, Fault):
            raise UserError(f"{folder.root}/{listing}")
        for name, entry in listing.entries.items():
            if entry.is_dir():
                identity = folder.listing(listing.path(name))
                if isinstance(identity, Fault):
                    raise UserError(f"{folder.root}/{identity}")
                images.update(identity.images)
    return images


def _warnings(trials: dict[int, TrialLists], images: set[str]) -> Iterator[str]:
    yield from _count_warnings(trials)
    for lists in trials.values():
        for listed in lists.values():
            yield from label_warnings(listed)
    named = {line.path for lists in trials.values() for one in lists.values() for line in one.lines}
    if unlisted := sorted(images - named):
        yield f"no list names {len(unlisted)} of the images in the folders, the first {unlisted[0]}"


def _count_warnings(trials: dict[int, TrialLists]) -> Iterator[str]:
    """A warning for each count that differs from the published one: results then do not compare."""
    if len(trials) != TRIALS:
        yield f"only trials {_join(list(trials))}; the published RegDB has {TRIALS}"
    count = len({i for lists in trials.values() for split in SPLITS for i in identities_of(lists, split)})
    if count != _PUBLISHED_IDENTITIES:
        yield f"{count} identities; the published RegDB has {_PUBLISHED_IDENTITIES}"
    different = [
        trial
        for trial, lists in trials.items()
        if {len(identities_of(lists, split)) for split in SPLITS} != {_PUBLISHED_SPLIT}
    ]
    if different:
        yield f"trials {_join(different)}: not the published {_PUBLISHED_SPLIT} identities in every split"
    different = [
        trial
        for trial, lists in trials.items()
        if {len(listed.lines) for listed in lists.values()} != {_PUBLISHED_IMAGES}
    ]
    if different:
        yield f"trials {_join(different)}: not the published {_PUBLISHED_IMAGES} images in every list"


def _join(trials: list[int]) -> str:
    return ", ".join(map(str, trials))
