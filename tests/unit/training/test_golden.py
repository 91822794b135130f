"""Losses of a short training of both stages, compared with stored values.

If a change of the method is intended, copy what the failing test prints into golden.json and say why in
the commit message. Training runs in float64. In float32, SSE, AVX2 and AVX-512 round differently, which
changes the third epoch's losses by up to 8 %; in float64 they agree to twelve digits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

GOLDEN = Path(__file__).with_name("golden.json")


@pytest.fixture
def float64() -> Iterator[None]:
    """New networks are float64, and so are the images given to them, which `to_range` makes float32."""

    def widen(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)

    torch.set_default_dtype(torch.float64)
    hook = register_module_forward_pre_hook(widen)
    yield
    hook.remove()
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("stage", ["dsgan", "reid"])
def test_losses_equal_the_stored_ones(make_task, run, weights, stage):
    task = make_task(stage)
    results, _ = run(task)
    assert torch.float32 not in {value.dtype for value in weights(task).values()}
    losses = [{name: round(value, 9) for name, value in r.losses.items()} for r in results]
    print(json.dumps({stage: losses}, indent=2))
    expected = json.loads(GOLDEN.read_text())[stage]
    assert len(losses) == len(expected) == 3
    for got, stored in zip(losses, expected, strict=True):
        assert got == pytest.approx(stored, rel=1e-8)
