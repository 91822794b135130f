"""Which fixed cameras record an identity, and how many images each takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tsme.synthetic.cameras.fixed import CameraVisit, FixedCamera


class PlannedVisit(NamedTuple):
    """One visit of an identity to a camera: `frames` images, rendered with `rng`."""

    camera: FixedCamera
    view: CameraVisit
    frames: int
    rng: np.random.Generator


def sample_cameras(
    rng: np.random.Generator, cameras: Sequence[FixedCamera], miss_rate: float
) -> list[FixedCamera]:
    """Drop each camera with probability `miss_rate`, so that the identity can still be retrieved.

    At least one infrared and one visible camera at different places remain, because protocols ignore
    matches between cameras at one place.
    """
    while True:
        kept = [camera for camera in cameras if rng.random() >= miss_rate]
        if _is_retrievable(kept):
            return kept


def _is_retrievable(cameras: Collection[FixedCamera]) -> bool:
    visible = {camera.place for camera in cameras if camera.sensor == "visible"}
    infrared = {camera.place for camera in cameras if camera.sensor == "nir"}
    return any(one != other for one in visible for other in infrared)


def plan_visits(
    cameras: Sequence[FixedCamera], images: int, streams: np.random.SeedSequence
) -> Iterator[PlannedVisit]:
    """Yield one visit per camera, with a mean of `images` frames and at least one."""
    for camera, stream in zip(cameras, streams.spawn(len(cameras)), strict=True):
        rng = np.random.default_rng(stream)
        frames = 1 + int(rng.poisson(images - 1))
        yield PlannedVisit(camera, camera.visit(rng), frames, rng)
