"""What `precision=auto` chooses, and that it is what is trained in."""

from __future__ import annotations

import pytest
import torch

from tsme.config import override
from tsme.errors import UserError
from tsme.presets import demo, regdb
from tsme.training.distributed import Worker
from tsme.training.precision import choose, precision_of

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def instructions(monkeypatch):
    """Sets whether the processor has bfloat16's."""

    def are(there: bool) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": there})

    return are


@pytest.mark.parametrize(
    ("config", "there", "chosen", "why"),
    [
        (regdb(), True, "bfloat16", "pay on maps of 288x144 pixels and 64 channels"),
        (regdb(), False, "float32", "no instructions"),
        (demo(), True, "float32", "maps of 96x48 pixels and 16 channels are too small"),
    ],
)
def test_processors(instructions, config, there, chosen, why):
    instructions(there)
    choice = choose(config, "reid", CPU)
    assert choice.precision == chosen and why in choice.why


def test_a_torch_that_cannot_tell_means_no_instructions(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert choose(regdb(), "dsgan", CPU).precision == "float32"


@pytest.mark.parametrize(("native", "chosen"), [(True, "bfloat16"), (False, "float32")])
def test_gpus(monkeypatch, native, chosen):
    """Old ones would emulate it."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    choice = choose(demo(), "dsgan", GPU)
    assert choice.precision == chosen and choice.why.startswith("Some GPU")


def test_what_is_configured_is_not_chosen(instructions):
    instructions(True)
    half = override(regdb(), {"dsgan.precision": "bfloat16", "reid.precision": "auto"})
    assert precision_of(regdb(), "dsgan", Worker()) == "float32"
    assert precision_of(half, "dsgan", Worker()) == "bfloat16"
    assert precision_of(half, "reid", Worker()) == "bfloat16"
    instructions(False)
    assert precision_of(half, "dsgan", Worker()) == "bfloat16"
    assert precision_of(half, "reid", Worker()) == "float32"


@pytest.mark.parametrize(("leader", "chosen"), [(True, "bfloat16"), (False, "float32")])
def test_workers_on_unlike_hosts_do_as_the_leader_does(instructions, monkeypatch, leader, chosen):
    instructions(not leader)
    monkeypatch.setattr(Worker, "broadcast", lambda self, fact: leader)
    config = override(regdb(), {"reid.precision": "auto"})
    assert precision_of(config, "reid", Worker(rank=1, world_size=2)) == chosen


def test_figures_are_not_left_to_the_device():
    with pytest.raises(UserError, match=r"evaluation\.precision=auto"):
        override(regdb(), {"evaluation.precision": "auto"})
