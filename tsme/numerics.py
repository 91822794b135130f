"""Precision of computations: autocasting, reproducible measurements, and sums in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from tsme.config import Precision


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A context in which convolutions, matrix products and activations have this precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


@contextmanager
def reproducible(device: torch.device, precision: Precision) -> Iterator[None]:
    """`autocast` for measurements, which must give the same numbers every time.

    On GPUs, float32 is not replaced by TF32, and cuDNN uses deterministic algorithms only.
    """
    exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with exact, autocast(device, precision):
        yield


def upcast_bf16(x: Tensor) -> Tensor:
    """Upcast bfloat16 to float32 before sums and comparisons; other types are returned unchanged."""
    return x.float() if x.dtype == torch.bfloat16 else x
