"""RegDB layout: a roaming visible and a roaming thermal camera, and ten random train/test splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tsme.data.datasets.regdb_lists import GROUND_TRUTH_FOLDER
from tsme.synthetic.cameras.roaming import RoamingCamera, RoamingSensor
from tsme.synthetic.difficulty import FrameVariation
from tsme.synthetic.people.person import Person, ToneModel
from tsme.synthetic.render import sample_facing
from tsme.synthetic.writer import PlannedImage, split_identities

SENSORS: tuple[RoamingSensor, ...] = ("visible", "thermal")
OTHER_SENSOR: dict[RoamingSensor, RoamingSensor] = {"visible": "thermal", "thermal": "visible"}
MAX_TRIALS = 10  # as many as RegDB has


@dataclass(frozen=True)
class RegDBLayout:
    """The same number of images of each identity in both modalities; half of the identities train.

    With `ground_truth`, each image has a counterpart in `Truth/`: the same moment, the other sensor.
    """

    identities: int
    images: int
    seed: int
    trials: int
    variation: FrameVariation
    tone_model: ToneModel
    ground_truth: bool

    @property
    def folders(self) -> list[str]:
        return ["idx"]

    def plan_images(
        self, identity: int, person: Person, streams: np.random.SeedSequence
    ) -> Iterator[PlannedImage]:
        """Yield images such as `Visible/7/male_back_v_05528_7.bmp`, frame numbers increasing."""
        for sensor, stream in zip(SENSORS, streams.spawn(len(SENSORS)), strict=True):
            rng = np.random.default_rng(stream)
            frame = int(rng.integers(0, 9000))
            for _ in range(self.images):
                frame += int(rng.integers(1, 12))
                facing = sample_facing(person, rng, self.variation)
                name = f"{person.gender}_{facing}_{sensor[0]}_{frame:05d}_{identity}.bmp"
                path = f"{sensor.capitalize()}/{identity}/{name}"
                view, other_view = (
                    RoamingCamera(s, self.tone_model) for s in (sensor, OTHER_SENSOR[sensor])
                )
                counterpart = (f"{GROUND_TRUTH_FOLDER}/{path}", other_view)
                ground_truth = counterpart if self.ground_truth else None
                yield PlannedImage(path, view, rng, facing, ground_truth)

    def list_files(self, paths: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
        """Yield the four lists of each trial; every list numbers its labels from 0."""
        for trial in range(1, self.trials + 1):
            halves = split_identities(self.seed, self.identities, trial, [self.identities // 2])
            for split, members in zip(("train", "test"), halves, strict=True):
                for sensor in SENSORS:
                    lines = [
                        f"{path} {label}\n"
                        for label, identity in enumerate(members)
                        for path in paths[identity - 1]
                        if path.startswith(sensor.capitalize())
                    ]
                    yield f"idx/{split}_{sensor}_{trial}.txt", "".join(lines)
