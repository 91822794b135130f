"""LLCM: nine places, many of them dark, with a visible and, but for one, a near-infrared camera each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tsme.synthetic.cameras.camera import Mounting, mount
from tsme.synthetic.cameras.passing import passes, seen_by
from tsme.synthetic.cameras.place import Sensor, Setting
from tsme.synthetic.people.person import Person
from tsme.synthetic.writer import Shot, divide

PLACES = range(1, 10)
WITHOUT_INFRARED = 3
INDOOR = (2, 5, 8)
LOW_LIGHT = (1, 4, 5, 7, 9)
VISITED = (3, 7)  # least and most places where a person is
MISSED = 0.15  # chance that a camera where the person is does not see them
SUFFIX: dict[Sensor, str] = {"visible": "vis", "nir": "nir"}


class LlcmLayout:
    """People at some of the places; training and test pictures lie in different folders."""

    def __init__(self, identities: int, images: int, seed: int) -> None:
        """Draw the cameras and the division of the people; two thirds train."""
        self.images = images
        self.cameras = [mount(seed, mounting) for mounting in mountings()]
        test = max(2, round(identities / 3))
        self.training, self.test = divide(seed, identities, 0, [identities - test])

    @property
    def folders(self) -> list[str]:
        """The lists', those of training pictures, and the cameras' for testing."""
        cameras = [f"test_{SUFFIX[camera.modality]}/cam{camera.number}" for camera in self.cameras]
        return ["idx", "vis", "nir", *cameras]

    def shots(self, identity: int, person: Person, streams: np.random.SeedSequence) -> Iterator[Shot]:
        """`vis/0001/0001_c01_s200656_f1021_vis.jpg`, or `test_vis/cam1/0002/0002_c01_…`."""
        rng = np.random.default_rng(streams.spawn(1)[0])
        places = rng.choice(PLACES, int(rng.integers(VISITED[0], VISITED[1] + 1)), replace=False)
        there = [camera for camera in self.cameras if camera.number in places]
        for camera, view, frames, stream in passes(seen_by(rng, there, MISSED), self.images, streams):
            suffix = SUFFIX[camera.modality]
            folder = suffix if identity in self.training else f"test_{suffix}/cam{camera.number}"
            time = f"{stream.integers(18, 24):02d}{stream.integers(60):02d}{stream.integers(60):02d}"
            number = int(stream.integers(0, 9000))
            for _ in range(frames):
                number += int(stream.integers(1, 12))
                name = f"{identity:04d}_c{camera.number:02d}_s{time}_f{number}_{suffix}.jpg"
                yield Shot(f"{folder}/{identity:04d}/{name}", view, stream)

    def lists(self, paths: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
        """The training pictures with labels from 0, and the identities to test on."""
        for suffix in SUFFIX.values():
            lines = [
                f"{path} {label}\n"
                for label, identity in enumerate(self.training)
                for path in paths[identity - 1]
                if path.startswith(f"{suffix}/")
            ]
            yield f"idx/train_{suffix}.txt", "".join(lines)
        yield "idx/test_id.txt", ",".join(map(str, self.test)) + "\n"


def mountings() -> Iterator[Mounting]:
    """All cameras, by place."""
    sensors: tuple[Sensor, ...] = ("visible", "nir")
    for place in PLACES:
        setting: Setting = "indoor" if place in INDOOR else "outdoor"
        for sensor in sensors:
            if sensor == "visible" or place != WITHOUT_INFRARED:
                yield Mounting(place, sensor, place, setting, low_light=place in LOW_LIGHT)
