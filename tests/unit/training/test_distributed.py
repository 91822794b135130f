"""A training worker: where its images are kept, its precision, and what it exchanges with others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tsme.errors import UserError
from tsme.presets import regdb
from tsme.settings import override
from tsme.training.distributed import Worker, auto_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")
IMAGES = torch.zeros(10, 3, 4, 5, dtype=torch.uint8), torch.zeros(10, 3, 4, 5, dtype=torch.uint8)
BYTES = sum(x.nbytes for x in IMAGES)


def test_on_the_cpu_images_are_not_copied():
    assert all(held is x for held, x in zip(Worker().to_device_if_fits(*IMAGES), IMAGES, strict=True))


@pytest.mark.parametrize(
    ("free", "cached", "moved"),
    [
        (4 * BYTES, 0, True),
        (4 * BYTES - 4, 0, False),  # more than a quarter of it
        (0, 4 * BYTES, True),  # PyTorch's cached memory is free as well
    ],
)
def test_images_move_to_a_gpu_that_has_room_for_them(monkeypatch, free, cached, moved):
    sent: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 0))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 1000 + cached)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1000)
    monkeypatch.setattr(torch.Tensor, "to", lambda x, device: sent.append(device) or x)
    Worker(device=GPU).to_device_if_fits(*IMAGES)
    assert sent == ([GPU, GPU] if moved else [])


@pytest.fixture
def cpu_capabilities(monkeypatch):
    """cpu_capabilities(avx512_bf16=True): what torch says of the CPU."""

    def set_capabilities(**names: bool) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: names)

    return set_capabilities


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bfloat16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bfloat16"),
        ({"bf16": True}, "bfloat16"),  # ARM
        ({"avx512_bf16": False, "amx_bf16": False, "avx2": True}, "float32"),
        ({}, "float32"),
    ],
)
def test_auto_precision_of_a_cpu(cpu_capabilities, capabilities, expected):
    cpu_capabilities(**capabilities)
    assert auto_precision(CPU) == expected


def test_auto_precision_where_torch_cannot_list_capabilities(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert auto_precision(CPU) == "float32"


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_precision_of_a_gpu(monkeypatch, native, expected):
    """Old GPUs would emulate bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert auto_precision(GPU) == expected


def test_only_auto_depends_on_the_device(cpu_capabilities):
    for native, chosen in ((True, "bfloat16"), (False, "float32")):
        cpu_capabilities(avx512_bf16=native)
        settings = ("float32", "bfloat16", "auto")
        assert [Worker().precision(s) for s in settings] == ["float32", "bfloat16", chosen]


@pytest.mark.parametrize(("main", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_workers_on_different_hosts_use_the_main_workers_precision(
    cpu_capabilities, monkeypatch, main, expected
):
    cpu_capabilities(avx512_bf16=not main)
    monkeypatch.setattr(Worker, "broadcast", lambda self, fact: main)
    assert Worker(rank=1, world_size=2).precision("auto") == expected


@pytest.mark.parametrize("stage", ["dsgan", "reid"])
def test_a_stage_trains_in_the_configured_precision(make_task, tiny, cpu_capabilities, stage):
    cpu_capabilities(avx512_bf16=True)
    for setting, expected in (("auto", "bfloat16"), ("bfloat16", "bfloat16"), ("float32", "float32")):
        task = make_task(stage, override(tiny, {f"{stage}.precision": setting}))
        assert task.precision == expected


def test_evaluation_has_no_automatic_precision():
    with pytest.raises(UserError, match=r"evaluation\.precision=auto"):
        override(regdb(), {"evaluation.precision": "auto"})


GATHER = """
import sys
import torch.distributed as dist
from tsme.training.distributed import Worker
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
print(Worker(rank=rank, world_size=2).gather({"pool of": rank}))
"""


def test_values_are_gathered_by_rank(tmp_path: Path):
    assert Worker().gather("value") == ["value"]
    env = os.environ | {"GLOO_SOCKET_IFNAME": "lo"}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", GATHER, str(rank), str(tmp_path / "meeting")],
            env=env, stdout=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    for one in both:
        assert one.communicate(timeout=60)[0] == "[{'pool of': 0}, {'pool of': 1}]\n"
