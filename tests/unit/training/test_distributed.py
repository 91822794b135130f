"""Where batches are taken from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tsme.training.distributed import Worker

IMAGES = torch.zeros(10, 3, 4, 5, dtype=torch.uint8), torch.zeros(10, 3, 4, 5, dtype=torch.uint8)
BYTES = sum(x.nbytes for x in IMAGES)


def test_on_the_processor_images_stay_as_they_are():
    assert all(held is x for held, x in zip(Worker().to_device_if_fits(*IMAGES), IMAGES, strict=True))


@pytest.mark.parametrize(
    ("free", "idle", "moved"),
    [
        (4 * BYTES, 0, True),
        (4 * BYTES - 4, 0, False),  # together they would take more than a quarter
        (0, 4 * BYTES, True),  # what PyTorch keeps of an earlier network is free too
    ],
)
def test_images_are_held_by_a_gpu_with_room_for_all_of_them(monkeypatch, free, idle, moved):
    gpu, sent = torch.device("cuda"), []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 0))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 1000 + idle)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1000)
    monkeypatch.setattr(torch.Tensor, "to", lambda x, device: sent.append(device) or x)
    Worker(device=gpu).to_device_if_fits(*IMAGES)
    assert sent == ([gpu, gpu] if moved else [])


GATHER = """
import sys
import torch.distributed as dist
from tsme.training.distributed import Worker
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
print(Worker(rank=rank, world_size=2).gather({"pool of": rank}))
"""


def test_what_workers_have_is_gathered_by_rank(tmp_path: Path):
    assert Worker().gather("mine") == ["mine"]
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
