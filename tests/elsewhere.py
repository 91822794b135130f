"""A device that is not the CPU, for machines that have none: what would stumble on a GPU stumbles on it.

Its tensors say they are on PyTorch's device "meta", and keep their values in the CPU's memory. As on a
GPU, an operation on tensors from here and from there is refused, and NumPy's view of a tensor there, and
numbers drawn there by a generator that is here. Values are the CPU's to the last bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = torch.device("meta")
CPU = torch.device("cpu")
MOVES = {"_to_copy", "copy_", "to"}
# What is chosen by rows may be elsewhere while the rows are here: the one mixture a GPU takes.
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


class Away(Tensor):
    """A tensor elsewhere; `held` are its values."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> Away:
        return Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=ELSEWHERE,
        )  # fmt: skip

    def __init__(self, held: Tensor) -> None:
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})

    def tolist(self) -> Any:  # PyTorch refuses it for every subclass
        return self.held.tolist()


class Elsewhere(TorchDispatchMode):
    """While it is on, tensors can be sent to ELSEWHERE; `fetched` names what brought values back."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = _call(func, args, kwargs or {})
        was_there = any(isinstance(x, Away) for x in tree_leaves((args, kwargs)))
        here = [x for x in tree_leaves(result) if not isinstance(x, Away) and x is not None]
        if was_there and here:
            self.fetched.append(func.overloadpacket.__name__)
        return result


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    """A second device, with what PyTorch must be told so that it treats it as one that computes."""
    supported = "torch.optim.optimizer._get_fused_kernels_supported_devices"
    autocast = torch.autocast
    swap = torch.__future__.get_swap_module_params_on_conversion()
    # Weights that are moved shall be other tensors: `.data =` cannot change what they hold.
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with (
            patch(supported, lambda: ["cpu", ELSEWHERE.type]),
            patch("torch.autocast", lambda device, *a, **k: autocast("cpu", *a, **k)),
            warnings.catch_warnings(),
            Elsewhere() as mode,
        ):
            warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")  # it does copy
            yield mode
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swap)


def _call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The operation on what its tensors hold; its result is where PyTorch would have it."""
    leaves = tree_leaves((args, kwargs))
    away = [x for x in leaves if isinstance(x, Away)]
    here = [x for x in leaves if isinstance(x, Tensor) and not isinstance(x, Away)]
    asked = [x for x in leaves if isinstance(x, torch.device)]
    there = asked[0] == ELSEWHERE if asked else bool(away)
    name = func.overloadpacket.__name__
    if name == "copy_":
        there = isinstance(args[0], Away)
    elif name not in MOVES and away:
        _refuse_mixture(func, name, here, away)
    if there and any(isinstance(x, torch.Generator) for x in leaves):
        raise RuntimeError(f"{func}: a generator of the CPU cannot draw elsewhere")

    def bare(x: Any) -> Any:
        return x.held if isinstance(x, Away) else CPU if isinstance(x, torch.device) else x

    result = func(*tree_map(bare, args), **tree_map(bare, kwargs))

    def placed(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        mine = next((a for a in away if a.held is x), None)
        if there:
            return mine if mine is not None else Away(x.clone() if any(h is x for h in here) else x)
        return x if mine is None else x.clone()

    return tree_map(placed, result)


def _refuse_mixture(func: Any, name: str, here: list[Tensor], away: list[Away]) -> None:
    """Raise unless what is here are single numbers or rows to index with."""
    for x in here:
        rows = name in INDEXED and x.dtype in (torch.int64, torch.bool)
        if x.dim() and not rows:
            raise RuntimeError(f"{func}: {tuple(x.shape)} is here, {tuple(away[0].shape)} elsewhere")
