"""SYSU-MM01: six cameras, two of them near-infrared, two at one place; three lists of identities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from tsme.synthetic.cameras.camera import Mounting, mount
from tsme.synthetic.cameras.passing import passes, seen_by
from tsme.synthetic.people.pattern import choose
from tsme.synthetic.people.person import Person
from tsme.synthetic.writer import Shot, divide

CAMERAS = (
    Mounting(1, "visible", place=1, setting="indoor"),
    Mounting(2, "visible", place=2, setting="indoor"),
    Mounting(3, "nir", place=2, setting="indoor"),
    Mounting(4, "visible", place=4, setting="outdoor"),
    Mounting(5, "visible", place=5, setting="outdoor"),
    Mounting(6, "nir", place=6, setting="outdoor"),
)
WHEREABOUTS: Mapping[Literal["both", "indoor", "outdoor"], float] = {
    "both": 0.7, "indoor": 0.15, "outdoor": 0.15,
}  # fmt: skip
MISSED = 0.15  # chance that a camera where the person is does not see them


class SysuLayout:
    """People of whom some stay indoors, some outdoors."""

    def __init__(self, identities: int, images: int, seed: int) -> None:
        """Draw the cameras and the division of the people, about 296:99:96."""
        self.images = images
        self.cameras = [mount(seed, mounting) for mounting in CAMERAS]
        val, test = (max(2, round(identities * share / 491)) for share in (99, 96))
        self.groups = divide(seed, identities, 0, [identities - val - test, val])

    @property
    def folders(self) -> list[str]:
        """The lists' and the cameras'."""
        return ["exp", *(f"cam{camera.number}" for camera in self.cameras)]

    def shots(self, identity: int, person: Person, streams: np.random.SeedSequence) -> Iterator[Shot]:
        """`cam3/0007/0001.jpg` and the like."""
        rng = np.random.default_rng(streams.spawn(1)[0])
        where = choose(rng, WHEREABOUTS)
        there = [camera for camera in self.cameras if where in ("both", camera.place.setting)]
        for camera, view, frames, stream in passes(seen_by(rng, there, MISSED), self.images, streams):
            for frame in range(1, frames + 1):
                yield Shot(f"cam{camera.number}/{identity:04d}/{frame:04d}.jpg", view, stream)

    def lists(self, paths: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
        """The identities of each split, on one line."""
        for split, members in zip(("train", "val", "test"), self.groups, strict=True):
            yield f"exp/{split}_id.txt", ",".join(map(str, members)) + "\n"
