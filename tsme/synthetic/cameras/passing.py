"""Which fixed cameras a person passes, and how often each takes a picture of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tsme.synthetic.cameras.camera import Camera, Visit


class Pass(NamedTuple):
    """A person's visit to one camera: `frames` pictures, drawn with `rng`."""

    camera: Camera
    view: Visit
    frames: int
    rng: np.random.Generator


def seen_by(rng: np.random.Generator, cameras: Sequence[Camera], missed: float) -> list[Camera]:
    """Those of `cameras` that see a person, each missing them with chance `missed`.

    Some infrared and some visible camera at different places do: protocols leave out matches within a
    place, so that nobody else could be found again.
    """
    while True:
        seen = [camera for camera in cameras if rng.random() >= missed]
        if _can_be_found(seen):
            return seen


def _can_be_found(cameras: Collection[Camera]) -> bool:
    visible = {camera.place for camera in cameras if camera.modality == "visible"}
    infrared = {camera.place for camera in cameras if camera.modality == "nir"}
    return any(here != there for here in visible for there in infrared)


def passes(cameras: Sequence[Camera], images: int, streams: np.random.SeedSequence) -> Iterator[Pass]:
    """A person's passes before `cameras`, with `images` pictures each in the mean and at least one."""
    for camera, stream in zip(cameras, streams.spawn(len(cameras)), strict=True):
        rng = np.random.default_rng(stream)
        frames = 1 + int(rng.poisson(images - 1))
        yield Pass(camera, camera.visit(rng), frames, rng)
