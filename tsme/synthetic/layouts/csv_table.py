"""A user's own data: pictures in folders of the user's choice, and a CSV file that says what they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tsme.synthetic.cameras.camera import Mounting, mount
from tsme.synthetic.cameras.passing import passes, seen_by
from tsme.synthetic.cameras.place import Sensor
from tsme.synthetic.people.person import Person
from tsme.synthetic.writer import Shot, divide

CAMERAS = (
    Mounting(1, "visible", place=1, setting="indoor"),
    Mounting(2, "visible", place=2, setting="outdoor"),
    Mounting(3, "nir", place=3, setting="indoor"),
    Mounting(4, "nir", place=4, setting="outdoor"),
)
MISSED = 0.15  # chance that a camera does not see a person
WORDS: dict[Sensor, str] = {"visible": "visible", "nir": "infrared"}
COLUMNS = "path,identity,camera,modality,split"


class CsvTableLayout:
    """People with names, each before most of four cameras."""

    def __init__(self, identities: int, images: int, seed: int) -> None:
        """Draw the cameras and the halves of the people."""
        self.images = images
        self.cameras = [mount(seed, mounting) for mounting in CAMERAS]
        self.training, self.test = divide(seed, identities, 0, [identities // 2])

    @property
    def folders(self) -> list[str]:
        """Where the pictures lie."""
        return [f"images/{word}" for word in WORDS.values()]

    def shots(self, identity: int, person: Person, streams: np.random.SeedSequence) -> Iterator[Shot]:
        """`images/infrared/camera-3/person-0012_0001.jpg` and the like."""
        rng = np.random.default_rng(streams.spawn(1)[0])
        seen = seen_by(rng, self.cameras, MISSED)
        for camera, view, frames, stream in passes(seen, self.images, streams):
            folder = f"images/{WORDS[camera.modality]}/camera-{camera.number}"
            for frame in range(1, frames + 1):
                yield Shot(f"{folder}/person-{identity:04d}_{frame:04d}.jpg", view, stream)

    def lists(self, paths: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
        """One line for each picture."""
        lines = [COLUMNS]
        for identity, taken in enumerate(paths, start=1):
            split = "train" if identity in self.training else "test"
            for path in taken:
                _, modality, camera, _ = path.split("/")
                number = camera.removeprefix("camera-")
                lines.append(f"{path},person-{identity:04d},{number},{modality},{split}")
        yield "people.csv", "\n".join(lines) + "\n"
