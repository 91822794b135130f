"""Seeds for single purposes, derived from the seed of the run."""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose, independent of those for other purposes."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A CPU random generator for one purpose."""
    return torch.Generator().manual_seed(derive(seed, *purpose))
