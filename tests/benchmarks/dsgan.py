"""A step of stage 1: generators, then discriminators."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.benchmarks.measure import Benchmark, Goal, Work, agree
from tests.benchmarks.reference.training import DsganTraining
from tests.benchmarks.setting import Setting
from tsme.data.augment import Augmentation, to_range
from tsme.data.images import grey
from tsme.seeding import generator
from tsme.training.dsgan import DsganTask
from tsme.training.worker import Worker

PAIRS = 4
# Of the first and the second step: Adam's first update has the size of lr whatever the gradient's.
TOLERANCES = 1e-4, 1e-2


def prepare(setting: Setting) -> Work:
    """A step of 4 + 4 images; the reference is handed its tensors."""
    visible, infrared = grey(setting.images(PAIRS, 0)), setting.images(PAIRS, 1)
    task = DsganTask(setting.config(), visible, infrared, Worker(device=setting.device))
    training = DsganTraining(setting.config(), setting.device)
    rows = np.arange(PAIRS)

    def mine() -> dict[str, float]:
        return {name: term.item() for name, term in task.step((rows, rows)).items()}

    def check() -> str:
        state = task.state()
        training.translators.load_state_dict(state["translators"])
        training.discriminators.load_state_dict(state["discriminators"])
        task.random, random = generator(0, "check"), generator(0, "check")
        for step, tolerance in zip(("first", "second"), TOLERANCES, strict=True):
            sides = [
                to_range(Augmentation.draw(PAIRS, 0, random).apply(images)).to(setting.device)
                for images in (visible, infrared)
            ]
            expected = training.step(*(side.contiguous() for side in sides))
            found = mine()
            for name, value in expected.items():
                agree(f"{name} of the {step} step", found[name], value, tolerance)
        return f"losses within {TOLERANCES[0]:g}, after an update {TOLERANCES[1]:g}"

    inputs = [to_range(images).to(setting.device) for images in (visible, infrared)]
    return Work(partial(training.step, *inputs), mine, check)


BENCHMARKS = [Benchmark("dsgan/step", prepare, Goal(1.6), on_device=True)]
