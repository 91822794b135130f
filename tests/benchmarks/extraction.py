"""Embeddings of a modality's test images: from stored translations, or translated on the way.

The reference always translates on the way, as published, by both generators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from tests.benchmarks import ours
from tests.benchmarks.measure import Benchmark, Disagreement, Goal, Work, relative_difference
from tests.benchmarks.reference.networks import PlainReid, PlainTranslators
from tests.benchmarks.reference.training import describe, describe_stored
from tests.benchmarks.setting import Setting, unsettle
from tsme.config import Precision
from tsme.data.types import Modality
from tsme.models.dsgan import Generators
from tsme.models.reid import TsmeNet
from tsme.models.translate import translate
from tsme.training.distributed import Worker

MODALITY: Modality = "visible"
PEOPLE = 206
ROUNDED_TOLERANCE = 5e-3  # ours rounds translations to pixels, the reference does not
TOLERANCES: dict[Precision, float] = {"float32": 1e-4, "bfloat16": 5e-2}


@dataclass(frozen=True)
class Side:
    """What both sides describe, and the networks of either."""

    images: Tensor
    translations: Tensor
    network: TsmeNet
    generators: Generators
    plain_network: PlainReid
    plain_translators: PlainTranslators


def build(setting: Setting) -> Side:
    """The same weights in our networks and in the published ones."""
    torch.manual_seed(0)
    config, worker = setting.config(), Worker(device=setting.device)
    network, generators = TsmeNet(config.reid, PEOPLE), Generators(config.dsgan)
    plain = PlainReid(config.reid, PEOPLE), PlainTranslators(config.dsgan)
    for one, other in zip((network, generators), plain, strict=True):
        unsettle(one)
        one.requires_grad_(False)
        other.load_state_dict(one.state_dict())
        other.to(setting.device)
        worker.wrap(one)
    on_gpu = setting.device.type == "cuda"
    images = setting.images(setting.of(512 if on_gpu else 16, 6), seed=0)
    translations = translate(generators, images, MODALITY, setting.device)
    return Side(images, translations, network, generators, *plain)


def not_in_tf32(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The same with a GPU's convolutions in float32 proper, as ours of float32 are."""

    def exact() -> Tensor:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return run()

    return exact


def prepare_online(setting: Setting) -> Work:
    """Ours translates on the way as well, by the one generator that is needed."""
    side = build(setting)

    @not_in_tf32
    def reference() -> Tensor:
        return describe(side.plain_network, side.plain_translators, side.images, MODALITY)

    def mine() -> Tensor:
        return ours.embed(side.network, side.generators, side.images, MODALITY, setting.device)

    def check() -> str:
        online = mine()
        stored = ours.describe_stored(
            side.network, side.images, side.translations, MODALITY, setting.device
        )
        if not torch.equal(online, stored):
            raise Disagreement("embeddings with stored and online translations are not the same bits")
        _within(online, reference(), ROUNDED_TOLERANCE)
        return f"the bits of stored translations; within {ROUNDED_TOLERANCE:g} of the reference"

    return Work(reference, mine, check)


def prepare_stored(setting: Setting, *, precision: Precision) -> Work:
    """Ours takes stored translations."""
    side = build(setting)

    def mine() -> Tensor:
        pair = side.images, side.translations
        return ours.describe_stored(side.network, *pair, MODALITY, setting.device, precision)

    def check() -> str:
        tolerance = TOLERANCES[precision]
        expected = describe_stored(side.plain_network, side.images, side.translations, MODALITY)
        _within(mine(), expected, tolerance)
        return f"embeddings with the same translations within {tolerance:g}, relative"

    inputs = side.plain_network, side.plain_translators, side.images, MODALITY
    reference = partial(describe, *inputs)
    return Work(not_in_tf32(reference) if precision == "float32" else reference, mine, check)


def _within(found: Tensor, expected: Tensor, tolerance: float) -> None:
    difference = relative_difference(found, expected)
    if not difference <= tolerance:  # so that NaN disagrees
        raise Disagreement(f"embeddings differ by {difference:.2g}, more than {tolerance:g}")


BENCHMARKS = [
    Benchmark("extraction/online", prepare_online, Goal(1.45), on_device=True),
    Benchmark(
        "extraction/stored-float32",
        partial(prepare_stored, precision="float32"),
        Goal(3.0),
        on_device=True,
    ),
    Benchmark(
        "extraction/stored-bf16", partial(prepare_stored, precision="bfloat16"), Goal(5.5), on_device=True
    ),
]
