"""Where batches are taken from."""

from __future__ import annotations

import pytest
import torch

from tsme.training.worker import Worker

IMAGES = torch.zeros(10, 3, 4, 5, dtype=torch.uint8), torch.zeros(10, 3, 4, 5, dtype=torch.uint8)
BYTES = sum(x.nbytes for x in IMAGES)


def test_on_the_processor_images_stay_as_they_are():
    assert all(held is x for held, x in zip(Worker().hold(*IMAGES), IMAGES, strict=True))


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
    Worker(device=gpu).hold(*IMAGES)
    assert sent == ([gpu, gpu] if moved else [])
