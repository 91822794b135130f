"""Checks of the arrays and tensors passed to metrics and re-ranking."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from tsme.errors import UserError

Numbers = NDArray[Any]


def as_features(values: ArrayLike, name: str) -> Numbers:
    """Features (n, d) as float32, or float64 for types wider than float32; UserError if not finite."""
    features = as_matrix(values, f"{name} features")
    check_finite(features, f"{name} features")
    return features


def check_finite(values: Numbers, name: str) -> None:
    """Raise UserError if there is NaN or infinity."""
    if not np.isfinite([values.min(), values.max()]).all():  # without a boolean array of the same size
        raise UserError(f"{name} hold NaN or infinity")


def as_matrix(values: ArrayLike, name: str) -> Numbers:
    """A matrix that is not empty, as float32 or float64, because sums of narrower types lose digits."""
    matrix = _array(values)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise UserError(f"{name} have shape {matrix.shape}; expected two dimensions, none of them 0")
    if matrix.dtype.kind not in "biuf":
        raise UserError(f"{name} are of type {matrix.dtype}; expected numbers")
    wide = np.float32 if np.can_cast(matrix.dtype, np.float32) else np.float64
    return matrix.astype(wide, copy=False)


def _array(values: ArrayLike) -> Numbers:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        # NumPy has no bfloat16; every float narrower than float32 is widened anyway.
        return (values.float() if values.is_floating_point() and values.itemsize < 4 else values).numpy()
    return np.asarray(values)


def as_column(values: ArrayLike | None, count: int, name: str, kinds: str = "biufUS") -> Numbers:
    """Identities or cameras (count,), of these kinds of NumPy types; else UserError."""
    if values is None:
        raise UserError(f"this protocol needs {name}")
    column = _array(values)
    if column.shape != (count,):
        raise UserError(f"{name} has shape {column.shape}; expected ({count},)")
    if column.dtype == object:  # text in pandas' data frames
        column = np.array(column.tolist())
    if column.dtype.kind not in kinds:
        raise UserError(
            f"{name} are of type {column.dtype}; expected numbers" + " or text" * ("U" in kinds)
        )
    if column.dtype.kind == "f":
        check_finite(column, name)  # NaN would match NaN
    return column
