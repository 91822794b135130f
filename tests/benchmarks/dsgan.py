"""A step of stage 1: generators, then discriminators."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.benchmarks import ours
from tests.benchmarks.measure import Benchmark, Goal, Work, broadcast
from tests.benchmarks.reference.training import DsganTraining
from tests.benchmarks.setting import Setting
from tsme.config import Precision
from tsme.data.images import grayscale
from tsme.data.transforms import Augmentation, to_range
from tsme.seeding import generator
from tsme.training.distributed import Worker
from tsme.training.dsgan import DsganTask

PAIRS = 4
# Of the first and the second step: Adam's first update has the size of lr whatever the gradient's.
TOLERANCES: dict[Precision, tuple[float, float]] = {"float32": (1e-4, 1e-2), "bfloat16": (5e-2, 1e-1)}


def prepare(setting: Setting, *, precision: Precision) -> Work:
    """A step of 4 + 4 images; the reference is handed its tensors."""
    visible, infrared = grayscale(setting.images(PAIRS, 0)), setting.images(PAIRS, 1)
    config = ours.computing_in(precision, setting.config())
    task = DsganTask(config, visible, infrared, Worker(device=setting.device))
    training = DsganTraining(setting.config(), setting.device)
    rows = np.arange(PAIRS)

    def mine() -> dict[str, float]:
        return {name: term.item() for name, term in task.step((rows, rows)).items()}

    def check() -> str:
        state = task.state()
        training.generators.load_state_dict(state["generators"])
        training.discriminators.load_state_dict(state["discriminators"])
        task.random, random = generator(0, "check"), generator(0, "check")
        for step, tolerance in zip(("first", "second"), TOLERANCES[precision], strict=True):
            sides = [
                to_range(Augmentation.draw(PAIRS, 0, random).apply(images)).to(setting.device)
                for images in (visible, infrared)
            ]
            expected = training.step(*(side.contiguous() for side in sides))
            found = mine()
            for name, value in expected.items():
                broadcast(f"{name} of the {step} step", found[name], value, tolerance)
        first, second = TOLERANCES[precision]
        return f"losses within {first:g}, after an update {second:g}"

    inputs = [to_range(images).to(setting.device) for images in (visible, infrared)]
    return Work(partial(training.step, *inputs), mine, check)


BENCHMARKS = [
    Benchmark("dsgan/step-float32", partial(prepare, precision="float32"), on_device=True),
    Benchmark("dsgan/step-bf16", partial(prepare, precision="bfloat16"), Goal(1.6), on_device=True),
]
