"""Steps of stage 2: stored translations against generators inside every step.

The reference is handed images that are augmented and on their device; our step does both itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks import ours
from tests.benchmarks.measure import Benchmark, Goal, Work, broadcast
from tests.benchmarks.reference.training import ReidTraining
from tests.benchmarks.setting import Setting, people_split
from tsme.config import Precision
from tsme.data.images import grayscale
from tsme.data.transforms import Augmentation, to_range
from tsme.data.types import MODALITIES
from tsme.seeding import generator
from tsme.training.distributed import Worker
from tsme.training.reid import Pixels, ReidTask

ROOT = Path(__file__).parents[2]
PEOPLE = 4  # of a batch
TIMED, LARGE = 2, 6  # images of each of them in either modality: 8 + 8 and 24 + 24
# Of all terms of the first step, and of the total of the second: what rounding does to the first update
# of a deep random network. In one step the total falls by about 5 %.
TOLERANCES: dict[Precision, tuple[float, float]] = {"float32": (1e-3, 1e-2), "bfloat16": (1e-1, 2e-2)}


def classes(setting: Setting) -> int:
    """As many people as a trial of RegDB trains on."""
    return setting.of(206, 6)


def pixels(setting: Setting, images: int) -> Pixels:
    """Of the batch: `images` of each person, and their translations."""
    count = PEOPLE * images
    return Pixels(
        {m: setting.images(count, seed) for seed, m in enumerate(MODALITIES)},
        {m: setting.images(count, seed) for seed, m in enumerate(MODALITIES, start=2)},
    )


def labels(setting: Setting, images: int) -> tuple[Tensor, Tensor]:
    """Of the batch's visible and infrared images."""
    people = torch.arange(PEOPLE).repeat_interleave(images).to(setting.device)
    return people, people


def build_task(setting: Setting, images: int, precision: Precision) -> ReidTask:
    """Our task; it holds no more images than one batch takes."""
    config = ours.computing_in(precision, setting.config())
    split = people_split(classes(setting), images)
    return ReidTask(config, split, pixels(setting, images), Worker(device=setting.device))


def our_step(task: ReidTask, images: int) -> dict[str, float]:
    """A step on the whole batch, and the terms of its loss."""
    rows = np.arange(PEOPLE * images)
    return {name: term.item() for name, term in task.step((rows, rows)).items()}


def reference_step(setting: Setting, training: ReidTraining, images: int) -> Callable[[], object]:
    """The published step on the images of the batch."""
    visible, infrared = pixels(setting, images).images.values()
    real, shades, thermal = (
        to_range(x).to(setting.device) for x in (visible, grayscale(visible), infrared)
    )
    return partial(training.step, real, shades, thermal, labels(setting, images))


def build_reference(setting: Setting) -> ReidTraining:
    """The published training, which has no other precision than float32."""
    return ReidTraining(setting.config(), classes(setting), setting.device)


def prepare(setting: Setting, *, precision: Precision) -> Work:
    """A step of 8 + 8 images."""
    task, training = build_task(setting, TIMED, precision), build_reference(setting)
    return Work(
        reference_step(setting, training, TIMED),
        partial(our_step, task, TIMED),
        partial(compare, setting, task, training, precision),
    )


def compare(setting: Setting, task: ReidTask, training: ReidTraining, precision: Precision) -> str:
    """Two steps of both sides on the same weights, images and translations have the same losses."""
    training.network.load_state_dict(task.state()["network"])
    training.restart()
    task.random, random = generator(0, "check"), generator(0, "check")
    stored = pixels(setting, TIMED)
    for step, tolerance in zip(("first", "second"), TOLERANCES[precision], strict=True):
        sides: list[tuple[Tensor, Tensor]] = []
        for modality in MODALITIES:
            drawn = Augmentation.draw(PEOPLE * TIMED, task.padding, random)
            sources = stored.images[modality], stored.translations[modality]
            image, translation = (
                to_range(drawn.apply(x)).to(setting.device).contiguous() for x in sources
            )
            sides.append((image, translation))
        expected = training.learn(sides[0], sides[1], labels(setting, TIMED))
        found = our_step(task, TIMED)
        for name in expected if step == "first" else ("total",):
            broadcast(f"{name} of the {step} step", found[name], expected[name], tolerance)
    first, second = TOLERANCES[precision]
    return f"losses with the same translations within {first:g}, after an update {second:g}"


def prepare_memory(setting: Setting) -> Work:
    """Peak memory of two steps (the first makes the optimiser's state) of 24 + 24 images."""

    def check() -> str:
        task = build_task(setting, TIMED, "bfloat16")
        return compare(setting, task, build_reference(setting), "bfloat16")

    return Work(partial(_peak, setting, "reference"), partial(_peak, setting, "ours"), check)


def _peak(setting: Setting, side: str) -> int:
    """Measured in a process of its own, in which the other side has left nothing."""
    command = [sys.executable, "-m", "tests.benchmarks.peak", side, setting.size, str(setting.device)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return int(json.loads(done.stdout)["bytes"])


BENCHMARKS = [
    Benchmark("stage2/step-float32", partial(prepare, precision="float32"), Goal(1.40), on_device=True),
    Benchmark("stage2/step-bf16", partial(prepare, precision="bfloat16"), Goal(2.8), on_device=True),
    Benchmark("stage2/memory-bf16", prepare_memory, Goal(0.60), unit="bytes", on_device=True),
]
