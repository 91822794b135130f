"""What the published recipe costs, counted rather than timed: operations, waits for the device, bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from tsme.config import Config
from tsme.data.types import MODALITIES, Modality, Split
from tsme.losses import discriminator_loss, generator_losses, reid_losses
from tsme.models.dsgan import Discriminators, Generator, Generators
from tsme.models.inference import folded
from tsme.models.reid import TsmeNet
from tsme.presets import regdb
from tsme.settings import override
from tsme.training.distributed import Worker
from tsme.training.reid import Pixels, ReidTask

IDENTITIES = 206  # that a RegDB trial trains on
# What only looks at a tensor in another way, sets memory aside or marks a place: no work on any device.
VIEWS = {
    "_record_function_enter_new", "_record_function_exit", "_unsafe_view", "alias", "as_strided",
    "detach", "empty", "empty_like", "expand", "lift_fresh", "new_empty", "permute", "select", "slice",
    "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unsqueeze", "view",
}  # fmt: skip
# Operations whose result the host waits for, wherever the tensors are.
WAITS = {"_local_scalar_dense", "_unique2", "equal", "masked_select", "nonzero", "unique_dim"}


@pytest.fixture
def recipe() -> Config:
    """The recipe as published, but for its initial weights."""
    return override(regdb(), {"reid.backbone.weights": "none", "dsgan.backbone.weights": "none"})


class Operations(TorchDispatchMode):
    """Counts what is dispatched, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def narrow_task(recipe: Config, make_split: Callable[..., Split]) -> ReidTask:
    """The published network and batch, but of few channels and pixels: as many operations."""
    changes = {"reid.backbone.width": 8, "image.height": 96, "image.width": 48}
    noise = torch.randint(0, 256, (24, 3, 96, 48), dtype=torch.uint8)
    pixels: dict[Modality, Tensor] = dict.fromkeys(MODALITIES, noise)
    return ReidTask(override(recipe, changes), make_split(range(4), 6), Pixels(pixels, pixels), Worker())


def operations(task: ReidTask) -> Counter[str]:
    """Of one step, after a first one that sets memory aside."""
    batch = next(iter(task.step_batches(1)))
    task.step(batch)
    with Operations() as counted:
        task.step(batch)
    return counted.counts


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_waits_for_nothing(narrow_task, precision):
    narrow_task.precision = precision
    waits = {name: count for name, count in operations(narrow_task).items() if name in WAITS}
    assert not waits
    with Operations() as counted:  # that it would be noticed
        torch.ones(3).nonzero()
        torch.ones(3).sum().item()
    assert {"nonzero", "_local_scalar_dense"} <= set(counted.counts) & WAITS


def test_a_step_starts_few_operations(narrow_task):
    """A GPU that is sent thousands of small operations waits for the host."""
    counts = operations(narrow_task)
    assert counts["convolution"] == counts["convolution_backward"] == 212
    assert sum(count for name, count in counts.items() if name not in VIEWS) <= 1800


def flops(function: Any, *arguments: Any) -> float:
    """GFLOP of a call, two for each multiplication with addition."""
    with FlopCounterMode(display=False) as counter:
        function(*arguments)
    return counter.get_total_flops() / 1e9


def test_operations_of_a_step(recipe):
    """24 + 24 images and their stored translations, forwards and backwards through four ResNet-50s."""
    with torch.device("meta"):
        network = TsmeNet(recipe.reid, IDENTITIES)
        images = [torch.zeros(24, 3, 288, 144) for _ in range(4)]
        labels = torch.arange(4).repeat_interleave(6)

        def step() -> None:
            reid_losses(network(*images), labels, labels, recipe.reid.loss)["total"].backward()

        assert 2900 < flops(step) <= 2945


def test_operations_of_a_test_image(recipe):
    with torch.device("meta"):
        network, generator = TsmeNet(recipe.reid, IDENTITIES).eval(), Generator(recipe.dsgan).eval()
        image = torch.zeros(1, 3, 288, 144)
        stored = flops(folded(network).embed, image, image, "visible")
        online = stored + flops(folded(generator), image)
    assert stored == pytest.approx(20.53, abs=0.01)
    assert online == pytest.approx(38.75, abs=0.01)


def test_operations_of_a_pair_of_stage_one(recipe):
    """Six translations, their scores, and the step of the discriminators."""
    with torch.device("meta"):
        networks, discriminators = (
            Generators(recipe.dsgan),
            Discriminators(recipe.dsgan.discriminator_width),
        )
        image = torch.zeros(1, 3, 288, 144)

        def step() -> None:
            discriminators.requires_grad_(False)
            made = networks(image, image)
            scores = (
                discriminators.visible(made.fake_visible),
                discriminators.infrared(made.fake_infrared),
            )
            generator_losses(made, image, image, *scores, recipe.dsgan.loss)["total"].backward()
            discriminators.requires_grad_(True)
            seen = discriminators(image, made.fake_visible.detach(), image, made.fake_infrared.detach())
            discriminator_loss(seen).backward()

        assert flops(step) == pytest.approx(372.2, abs=0.1)


def test_bytes_of_a_trial(recipe):
    """The network's weights; a trial's file has the two generators beside them."""
    with torch.device("meta"):
        networks = TsmeNet(recipe.reid, IDENTITIES), Generators(recipe.dsgan)
    ours, theirs = (sum(x.nbytes for x in network.state_dict().values()) for network in networks)
    assert 400e6 < ours <= 430e6
    assert ours + theirs == pytest.approx(739e6, abs=1e6)


def test_all_that_is_optimised_is_learnt(narrow_task):
    narrow_task.step(next(iter(narrow_task.step_batches(1))))
    optimised = [p for group in narrow_task.optimizer.param_groups for p in group["params"]]
    assert len(optimised) == len(list(narrow_task.network.parameters())) == 696
    assert all(p.grad is not None and bool(p.grad.any()) for p in optimised)
