"""Tensor files whose damage is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tsme.errors import UserError
from tsme.storage.tensors import load_tensors, read_header, save_tensors, set_damaged_aside

TENSORS = {
    "weight": torch.arange(6, dtype=torch.float32).view(2, 3).T,  # not contiguous
    "narrow": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "nothing": torch.zeros(0, 3, dtype=torch.uint8),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    save_tensors(path, TENSORS, {"format": "test"})
    return path


def test_what_was_saved_returns(file):
    tensors, header = load_tensors(file)
    assert header == {"format": "test"}
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype and torch.equal(tensors[name], value)
    assert read_header(file)["format"] == "test"


def test_any_flipped_bit_is_noticed(file):
    content = file.read_bytes()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"damaged|no digest"):
            load_tensors(file)


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_file_is_noticed(file, length):
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(UserError, match=f"{file}: not a safetensors file, or damaged"):
        load_tensors(file)


def test_a_missing_file_and_one_without_digest(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_tensors(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="has no digest"):
        load_tensors(tmp_path / "foreign.safetensors")


def test_damaged_files_are_set_aside_and_intact_ones_stay(file):
    damaged = file.with_name("b.safetensors")
    damaged.write_bytes(file.read_bytes()[:-1] + b"\xff")
    (message,) = set_damaged_aside(file.parent)
    assert message.startswith(f"{damaged}: damaged") and "b.safetensors.damaged" in message
    assert sorted(path.name for path in file.parent.iterdir()) == [
        "a.safetensors",
        "b.safetensors.damaged",
    ]
    assert set_damaged_aside(file.parent) == []
    assert set_damaged_aside(file.parent / "missing") == []
