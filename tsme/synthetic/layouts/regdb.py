"""RegDB: a roaming visible and a thermal camera, and ten divisions of the people into halves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tsme.data.datasets.regdb_lists import GROUND_TRUTH_FOLDER
from tsme.synthetic.cameras.scene import Anywhere
from tsme.synthetic.difficulty import Difficulty
from tsme.synthetic.people.person import Person
from tsme.synthetic.render import draw_facing
from tsme.synthetic.writer import Shot, divide

SENSORS: tuple[Literal["visible", "thermal"], ...] = ("visible", "thermal")
OTHER: dict[str, Literal["visible", "thermal"]] = {"visible": "thermal", "thermal": "visible"}
TRIALS = 10  # as many as RegDB has


@dataclass(frozen=True)
class RegDBLayout:
    """The same number of images of every person in each modality.

    With `truth` each has, under `Truth/`, what the other sensor would have seen at that moment.
    """

    identities: int
    images: int
    seed: int
    trials: int
    difficulty: Difficulty
    ground_truth: bool

    @property
    def folders(self) -> list[str]:
        """The lists'."""
        return ["idx"]

    def shots(self, identity: int, person: Person, streams: np.random.SeedSequence) -> Iterator[Shot]:
        """`Visible/7/male_back_v_05528_7.bmp` and the like, as drawn from a walk through a film."""
        for sensor, stream in zip(SENSORS, streams.spawn(len(SENSORS)), strict=True):
            rng = np.random.default_rng(stream)
            frame = int(rng.integers(0, 9000))
            for _ in range(self.images):
                frame += int(rng.integers(1, 12))
                facing = draw_facing(person, rng, self.difficulty)
                name = f"{person.gender}_{facing}_{sensor[0]}_{frame:05d}_{identity}.bmp"
                path = f"{sensor.capitalize()}/{identity}/{name}"
                ground_truth = None
                if self.ground_truth:
                    ground_truth = (f"{GROUND_TRUTH_FOLDER}/{path}", Anywhere(OTHER[sensor]))
                yield Shot(path, Anywhere(sensor), rng, facing, ground_truth)

    def lists(self, paths: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
        """Each trial's, labels numbered anew in every list."""
        for trial in range(1, self.trials + 1):
            halves = divide(self.seed, self.identities, trial, [self.identities // 2])
            for split, members in zip(("train", "test"), halves, strict=True):
                for sensor in SENSORS:
                    lines = [
                        f"{path} {label}\n"
                        for label, identity in enumerate(members)
                        for path in paths[identity - 1]
                        if path.startswith(sensor.capitalize())
                    ]
                    yield f"idx/{split}_{sensor}_{trial}.txt", "".join(lines)
