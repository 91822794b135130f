"""Synthetic data sets in RegDB's layout, at RegDB's size unless a test asks for a smaller one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tsme.synthetic.generate import generate


def generate_regdb(
    out: Path, *, identities: int = 412, images: int = 10, seed: int = 0, **options: Any
) -> None:
    """`generate` with RegDB's layout; `options` are its other arguments."""
    generate(out, layout="regdb", identities=identities, images=images, seed=seed, **options)
