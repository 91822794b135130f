"""Precision of computations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tsme.numerics import autocast, upcast_bf16


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_autocast_sets_the_type_of_matrix_products(precision, dtype):
    with autocast(torch.device("cpu"), precision):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.float16, torch.float16),
    ],
)
def test_only_bfloat16_is_upcast(given, expected):
    assert upcast_bf16(torch.ones(2, dtype=given)).dtype == expected
