"""The searches of each data set's protocol: queries, gallery, and the rule of comparison.

- RegDB: both directions over all images of the trial's test identities.
- SYSU-MM01 (Wu et al., ICCV 2017): infrared queries; the gallery is one image (single-shot) or ten
  (multi-shot) of each identity from each camera, from cameras 1, 2, 4, 5 (all-search) or 1, 2
  (indoor-search), drawn ten times.
- LLCM (Zhang and Wang, CVPR 2023): both directions; the gallery is one image of each identity from each
  camera, drawn ten times.
- A CSV table: both directions over all test images.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tsme.config import DatasetName, EvaluationConfig, Mode, Shots
from tsme.data.datasets.permutations import Permutations
from tsme.data.types import MODALITIES, Dataset, ImageList, Modality, Split, Trial, other
from tsme.errors import UserError

if TYPE_CHECKING:
    from tsme.evaluation.metrics import Protocol

Rows = NDArray[np.int64]

MODE_CAMERAS: dict[Mode, tuple[int, ...]] = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
SHOT_IMAGES: dict[Shots, int] = {"single": 1, "multi": 10}
RULES: dict[DatasetName, Protocol] = {"regdb": "regdb", "sysu": "sysu", "llcm": "llcm", "csv": "regdb"}
# Modalities of the queries; SYSU-MM01 has no infrared galleries.
QUERY_MODALITIES: dict[DatasetName, tuple[Modality, ...]] = {
    "regdb": MODALITIES,
    "sysu": ("infrared",),
    "llcm": MODALITIES,
    "csv": MODALITIES,
}
DESCRIPTIONS: dict[DatasetName, str] = {
    "regdb": "regdb: all gallery images, no camera filter; each trial with its own weights",
    "sysu": "sysu: infrared queries, drawn visible galleries; camera-3 queries skip camera 2; "
    "CMC over identities",
    "llcm": "llcm: drawn galleries; a query skips its identity in its own camera; CMC over identities",
    "csv": "csv: all gallery images, no camera filter",
}


@dataclass(frozen=True)
class Search:
    """A set of queries and a gallery, as rows of the test split's lists.

    `mode` and `shots` are those of SYSU-MM01. `draw` numbers a random gallery, and `drawn_by` is how it
    was drawn: "seed" or "rand_perm_cam.mat".
    """

    rule: Protocol
    query: Modality
    queries: Rows
    gallery: Rows
    mode: str = ""
    shots: str = ""
    draw: int | None = None
    drawn_by: str = ""

    @property
    def name(self) -> str:
        """Name of the protocol's part, for example "visible-to-infrared" or "all-search single-shot"."""
        return label(direction(self.query), self.mode, self.shots)


def label(direction: str, mode: str, shots: str) -> str:
    """Name of a search: mode and shots on SYSU-MM01, the direction on other data sets."""
    return f"{mode}-search {shots}-shot" if mode else direction


def direction(query: Modality) -> str:
    """Direction of a search with queries of this modality, for example "visible-to-infrared"."""
    return f"{query}-to-{other(query)}"


def searches(dataset: Dataset, trial: Trial, evaluation: EvaluationConfig) -> list[Search]:
    """All searches of the data set's protocol on this trial's test identities.

    Raises UserError if a search has no queries or no gallery.
    """
    match dataset.name:
        case "sysu":
            result = list(_sysu(dataset, trial.test, evaluation))
        case "llcm":
            result = list(_llcm(trial.test, evaluation.draws))
        case _:
            result = full_searches(dataset.name, trial.test)
    for search in result:
        if not (len(search.queries) and len(search.gallery)):
            empty = "gallery" if len(search.queries) else "queries"
            raise UserError(f"{dataset.location}: {search.name} has no {empty}")
    return result


def full_searches(dataset: DatasetName, split: Split) -> list[Search]:
    """Searches over all images, as in RegDB's protocol and in validation on any data set."""
    return [
        Search(
            rule=RULES[dataset],
            query=query,
            queries=np.arange(len(split[query])),
            gallery=np.arange(len(split[other(query)])),
        )
        for query in QUERY_MODALITIES[dataset]
    ]


def _sysu(dataset: Dataset, split: Split, evaluation: EvaluationConfig) -> Iterable[Search]:
    permutations = dataset.permutations
    queries = np.arange(len(split.infrared))
    images = split.visible
    for mode in evaluation.modes:
        for shots in evaluation.shots:
            cameras, count = MODE_CAMERAS[mode], SHOT_IMAGES[shots]
            for draw in evaluation.draws:
                if permutations is None:
                    gallery = _draw(images, cameras, count, draw)
                else:
                    gallery = _permuted(dataset, images, cameras, count, draw, permutations)
                by = "seed" if permutations is None else "rand_perm_cam.mat"
                yield Search("sysu", "infrared", queries, gallery, mode, shots, draw, by)


def _llcm(split: Split, draws: Iterable[int]) -> Iterable[Search]:
    for query in MODALITIES:
        images = split[other(query)]
        cameras = sorted(set(images.cameras.tolist()))
        for draw in draws:
            gallery = _draw(images, cameras, 1, draw)
            yield Search("llcm", query, np.arange(len(split[query])), gallery, draw=draw, drawn_by="seed")


def _draw(images: ImageList, cameras: Iterable[int], count: int, seed: int) -> Rows:
    """Rows of `count` images (all, if fewer) of each identity from each camera, in list order.

    Galleries of single images equal those of most Python code: drawn by Python's generator, seeded with
    the draw's number, over identities, then cameras, from files sorted by name.
    """
    generator = random.Random(seed)
    rows_of: dict[tuple[int, int], list[int]] = {}
    for row in sorted(range(len(images)), key=lambda row: images.paths[row]):
        key = (int(images.identities[row]), int(images.cameras[row]))
        rows_of.setdefault(key, []).append(row)
    chosen: list[int] = []
    for rows in (rows_of[key] for key in product(_identities(images), cameras) if key in rows_of):
        if count == 1:
            chosen.append(generator.choice(rows))
        else:
            chosen += generator.sample(rows, min(count, len(rows)))
    return np.array(sorted(chosen), dtype=np.int64)


def _permuted(
    dataset: Dataset,
    images: ImageList,
    cameras: Iterable[int],
    count: int,
    draw: int,
    permutations: Permutations,
) -> Rows:
    """Rows of the images in a gallery drawn by the data set's authors, in list order."""
    frames = (int(PurePosixPath(path).stem) for path in images.paths)
    keys = zip(images.cameras.tolist(), images.identities.tolist(), frames, strict=True)
    row_of = {key: row for row, key in enumerate(keys)}
    rows = []
    for identity, camera in product(_identities(images), cameras):
        for frame in permutations.frames(camera, identity, draw, count):
            if (camera, identity, frame) not in row_of:
                raise UserError(
                    f"{dataset.location}/cam{camera}/{identity:04d}/{frame:04d}.jpg: drawn by "
                    "exp/rand_perm_cam.mat, but missing; restore it, or remove that file to have "
                    "galleries drawn from seeds"
                )
            rows.append(row_of[camera, identity, frame])
    return np.array(sorted(rows), dtype=np.int64)


def _identities(images: ImageList) -> list[int]:
    return sorted(set(images.identities.tolist()))
