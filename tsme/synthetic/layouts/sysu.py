"""SYSU-MM01 layout: four visible and two near-infrared cameras, of which 2 and 3 share a place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from tsme.synthetic.cameras.fixed import CameraSpec, make_camera
from tsme.synthetic.cameras.visits import plan_visits, sample_cameras
from tsme.synthetic.people.pattern import sample_weighted
from tsme.synthetic.people.person import Person
from tsme.synthetic.writer import PlannedImage, split_identities

CAMERAS = (
    CameraSpec(1, "visible", place=1, setting="indoor"),
    CameraSpec(2, "visible", place=2, setting="indoor"),
    CameraSpec(3, "nir", place=2, setting="indoor"),
    CameraSpec(4, "visible", place=4, setting="outdoor"),
    CameraSpec(5, "visible", place=5, setting="outdoor"),
    CameraSpec(6, "nir", place=6, setting="outdoor"),
)
SETTING_WEIGHTS: Mapping[Literal["both", "indoor", "outdoor"], float] = {
    "both": 0.7, "indoor": 0.15, "outdoor": 0.15,
}  # fmt: skip
MISS_RATE = 0.15  # probability that a camera in a visited setting has no image of an identity


class SysuLayout:
    """Identities seen indoors, outdoors or both, split about 296:99:96 as in SYSU-MM01."""

    def __init__(self, identities: int, images: int, seed: int) -> None:
        self.images = images
        self.cameras = [make_camera(seed, spec) for spec in CAMERAS]
        val, test = (max(2, round(identities * share / 491)) for share in (99, 96))
        self.splits = split_identities(seed, identities, 0, [identities - val - test, val])

    @property
    def folders(self) -> list[str]:
        return ["exp", *(f"cam{camera.number}" for camera in self.cameras)]

    def plan_images(
        self, identity: int, person: Person, streams: np.random.SeedSequence
    ) -> Iterator[PlannedImage]:
        """Yield images such as `cam3/0007/0001.jpg`."""
        rng = np.random.default_rng(streams.spawn(1)[0])
        setting = sample_weighted(rng, SETTING_WEIGHTS)
        nearby = [camera for camera in self.cameras if setting in ("both", camera.place.setting)]
        cameras = sample_cameras(rng, nearby, MISS_RATE)
        for camera, view, frames, stream in plan_visits(cameras, self.images, streams):
            for frame in range(1, frames + 1):
                yield PlannedImage(f"cam{camera.number}/{identity:04d}/{frame:04d}.jpg", view, stream)

    def list_files(self, paths: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
        """Yield the identities of each split, on one line."""
        for split, members in zip(("train", "val", "test"), self.splits, strict=True):
            yield f"exp/{split}_id.txt", ",".join(map(str, members)) + "\n"
