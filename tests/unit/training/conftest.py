"""Tasks on tiny images, and how tests run them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tsme.config import Config
from tsme.data.images import grayscale
from tsme.data.types import ImageList, Split
from tsme.training.distributed import Worker
from tsme.training.dsgan import DsganTask
from tsme.training.loop import EpochResult, fit
from tsme.training.reid import Pixels, ReidTask


def make_identities(tmp_path, count: int, images: int) -> Split:
    ids = np.repeat(np.arange(count, dtype=np.int64) * 10, images)
    names = tuple(map(str, range(len(ids))))
    cameras = np.ones_like(ids)
    return Split(*(ImageList(m, names, ids, cameras) for m in ("visible", "infrared")))


@pytest.fixture
def make_dsgan(tiny: Config, noise: Callable[..., Tensor]) -> Callable[..., DsganTask]:
    """make_dsgan(config, visible, infrared, worker): stage 1 on 8 + 7 images of noise by default."""

    def make(
        config: Config = tiny, visible: int = 8, infrared: int = 7, worker: Worker | None = None
    ) -> DsganTask:
        return DsganTask(
            config, grayscale(noise(visible, 1)), grayscale(noise(infrared, 2)), worker or Worker()
        )

    return make


@pytest.fixture
def make_reid(tiny: Config, noise: Callable[..., Tensor], tmp_path) -> Callable[..., ReidTask]:
    """make_reid(config, ...): stage 2 on 4 identities with 3 images in each modality."""

    def make(config: Config = tiny, worker: Worker | None = None, **options: Any) -> ReidTask:
        images = {"visible": noise(12, 1), "infrared": noise(12, 2)}
        pixels = Pixels(images, {"visible": noise(12, 3), "infrared": noise(12, 4)})
        return ReidTask(config, make_identities(tmp_path, 4, 3), pixels, worker or Worker(), **options)

    return make


@pytest.fixture
def make_task(make_dsgan, make_reid) -> Callable[..., DsganTask | ReidTask]:
    """make_task(stage, ...): the task of either stage."""

    def make(stage: str, *arguments: Any, **options: Any) -> DsganTask | ReidTask:
        return (make_dsgan if stage == "dsgan" else make_reid)(*arguments, **options)

    return make


def weights_of(task: DsganTask | ReidTask) -> dict[str, Tensor]:
    networks = [task.generators, task.discriminators] if isinstance(task, DsganTask) else [task.network]
    return {
        f"{k}.{name}": value.clone()
        for k, network in enumerate(networks)
        for name, value in network.state_dict().items()
    }


@pytest.fixture
def weights() -> Callable[[DsganTask | ReidTask], dict[str, Tensor]]:
    """weights(task): copies of all parameters and buffers."""
    return weights_of


@pytest.fixture
def run() -> Callable[..., tuple[list[EpochResult], list[bytes]]]:
    """run(task, done, stop): the results, and the checkpoint saved after each."""

    def go(task: DsganTask | ReidTask, done: int = 0, stop: int = 99):
        results, files = [], []
        for result in fit(task, Worker(), done=done):
            file = io.BytesIO()
            torch.save(result.checkpoint, file)
            results.append(result)
            files.append(file.getvalue())
            if result.epoch == stop:
                break
        return results, files

    return go
