"""CSV layout: images in arbitrary folders, and a table of path, identity, camera, modality and split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tsme.synthetic.cameras.fixed import CameraSpec, make_camera
from tsme.synthetic.cameras.scenery import FixedSensor
from tsme.synthetic.cameras.visits import plan_visits, sample_cameras
from tsme.synthetic.people.person import Person
from tsme.synthetic.writer import PlannedImage, split_identities

CAMERAS = (
    CameraSpec(1, "visible", place=1, setting="indoor"),
    CameraSpec(2, "visible", place=2, setting="outdoor"),
    CameraSpec(3, "nir", place=3, setting="indoor"),
    CameraSpec(4, "nir", place=4, setting="outdoor"),
)
MISS_RATE = 0.15  # probability that a camera has no image of an identity
MODALITY_NAMES: dict[FixedSensor, str] = {"visible": "visible", "nir": "infrared"}
COLUMNS = "path,identity,camera,modality,split"


class CsvTableLayout:
    """Named identities, each seen by most of four cameras; half of them train."""

    def __init__(self, identities: int, images: int, seed: int) -> None:
        self.images = images
        self.cameras = [make_camera(seed, spec) for spec in CAMERAS]
        self.training, self.test = split_identities(seed, identities, 0, [identities // 2])

    @property
    def folders(self) -> list[str]:
        return [f"images/{name}" for name in MODALITY_NAMES.values()]

    def plan_images(
        self, identity: int, person: Person, streams: np.random.SeedSequence
    ) -> Iterator[PlannedImage]:
        """Yield images such as `images/infrared/camera-3/person-0012_0001.jpg`."""
        rng = np.random.default_rng(streams.spawn(1)[0])
        cameras = sample_cameras(rng, self.cameras, MISS_RATE)
        for camera, view, frames, stream in plan_visits(cameras, self.images, streams):
            folder = f"images/{MODALITY_NAMES[camera.sensor]}/camera-{camera.number}"
            for frame in range(1, frames + 1):
                yield PlannedImage(f"{folder}/person-{identity:04d}_{frame:04d}.jpg", view, stream)

    def list_files(self, paths: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
        """Yield `people.csv`, one row per image."""
        lines = [COLUMNS]
        for identity, images in enumerate(paths, start=1):
            split = "train" if identity in self.training else "test"
            for path in images:
                _, modality, camera, _ = path.split("/")
                number = camera.removeprefix("camera-")
                lines.append(f"{path},person-{identity:04d},{number},{modality},{split}")
        yield "people.csv", "\n".join(lines) + "\n"
