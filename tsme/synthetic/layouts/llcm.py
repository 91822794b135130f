"""LLCM layout: nine places, some in low light, with a visible and (except one) a near-infrared camera."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tsme.synthetic.cameras.fixed import CameraSpec, make_camera
from tsme.synthetic.cameras.scenery import FixedSensor, Setting
from tsme.synthetic.cameras.visits import plan_visits, sample_cameras
from tsme.synthetic.people.person import Person
from tsme.synthetic.writer import PlannedImage, split_identities

PLACES = range(1, 10)
PLACE_WITHOUT_INFRARED = 3
INDOOR_PLACES = (2, 5, 8)
LOW_LIGHT_PLACES = (1, 4, 5, 7, 9)
PLACES_PER_IDENTITY = (3, 7)  # inclusive range
MISS_RATE = 0.15  # probability that a camera at a visited place has no image of an identity
SUFFIXES: dict[FixedSensor, str] = {"visible": "vis", "nir": "nir"}


class LlcmLayout:
    """Identities seen at some of the places; two thirds train, in folders of their own."""

    def __init__(self, identities: int, images: int, seed: int) -> None:
        self.images = images
        self.cameras = [make_camera(seed, spec) for spec in camera_specs()]
        test = max(2, round(identities / 3))
        self.training, self.test = split_identities(seed, identities, 0, [identities - test])

    @property
    def folders(self) -> list[str]:
        cameras = [f"test_{SUFFIXES[camera.sensor]}/cam{camera.number}" for camera in self.cameras]
        return ["idx", "vis", "nir", *cameras]

    def plan_images(
        self, identity: int, person: Person, streams: np.random.SeedSequence
    ) -> Iterator[PlannedImage]:
        """Yield images such as `vis/0001/0001_c01_s200656_f1021_vis.jpg` or `test_vis/cam1/0002/…`."""
        rng = np.random.default_rng(streams.spawn(1)[0])
        low, high = PLACES_PER_IDENTITY
        places = rng.choice(PLACES, int(rng.integers(low, high + 1)), replace=False)
        nearby = [camera for camera in self.cameras if camera.number in places]
        cameras = sample_cameras(rng, nearby, MISS_RATE)
        for camera, view, frames, stream in plan_visits(cameras, self.images, streams):
            suffix = SUFFIXES[camera.sensor]
            folder = suffix if identity in self.training else f"test_{suffix}/cam{camera.number}"
            time = f"{stream.integers(18, 24):02d}{stream.integers(60):02d}{stream.integers(60):02d}"
            number = int(stream.integers(0, 9000))
            for _ in range(frames):
                number += int(stream.integers(1, 12))
                name = f"{identity:04d}_c{camera.number:02d}_s{time}_f{number}_{suffix}.jpg"
                yield PlannedImage(f"{folder}/{identity:04d}/{name}", view, stream)

    def list_files(self, paths: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
        """Yield the lists of training images, with labels from 0, and of test identities."""
        for suffix in SUFFIXES.values():
            lines = [
                f"{path} {label}\n"
                for label, identity in enumerate(self.training)
                for path in paths[identity - 1]
                if path.startswith(f"{suffix}/")
            ]
            yield f"idx/train_{suffix}.txt", "".join(lines)
        yield "idx/test_id.txt", ",".join(map(str, self.test)) + "\n"


def camera_specs() -> Iterator[CameraSpec]:
    """Yield all cameras, ordered by place."""
    sensors: tuple[FixedSensor, ...] = ("visible", "nir")
    for place in PLACES:
        setting: Setting = "indoor" if place in INDOOR_PLACES else "outdoor"
        for sensor in sensors:
            if sensor == "visible" or place != PLACE_WITHOUT_INFRARED:
                yield CameraSpec(place, sensor, place, setting, low_light=place in LOW_LIGHT_PLACES)
