"""A device that is not the CPU, for machines that have none: much that would stumble on a GPU stumbles.

Its tensors say they are on PyTorch's device "meta", and keep their values in the CPU's memory. As on a
GPU, an operation on tensors from here and from there is refused, and NumPy's view of a tensor there, and
numbers drawn there by a generator that is here; and it is told what the host would wait for. Values are
the CPU's, so equal figures say that nothing depends on where a tensor is, not what a GPU would compute.
What asks for CUDA by name is not met: pinned memory, how much room there is, autocast, NCCL.
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
# What is chosen by rows may be elsewhere while the rows are here, the one mixture a GPU takes.
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
# How large their results are depends on values, so the host waits for them.
COUNTED = {
    "masked_select", "nonzero", "repeat_interleave", "unique_consecutive", "unique_dim", "_unique2",
}  # fmt: skip


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
        return self.cpu().tolist()


class Elsewhere(TorchDispatchMode):
    """While it is on, tensors can be sent to ELSEWHERE; `fetched` names what the host had to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = _call(func, args, kwargs or {})
        there = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Away)]
        here = [x for x in tree_leaves(result) if not isinstance(x, Away) and x is not None]
        name = func.overloadpacket.__name__
        masked = name in INDEXED and any(
            x.dtype == torch.bool for x in tree_leaves(args[1]) if x is not None
        )
        if there and (here or masked or name in COUNTED):
            self.fetched.append(name)
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
        # Rows to index with may be here, what is indexed and what is put there may not.
        _refuse_mixture(func, (args[0], args[2:]) if name in INDEXED else (args, kwargs))
    if there and any(isinstance(x, torch.Generator) for x in leaves):
        raise RuntimeError(f"{func}: a generator of the CPU cannot draw elsewhere")

    def unwrap_model(x: Any) -> Any:
        return x.held if isinstance(x, Away) else CPU if isinstance(x, torch.device) else x

    result = func(*tree_map(unwrap_model, args), **tree_map(unwrap_model, kwargs))

    def placed(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        mine = next((a for a in away if a.held is x), None)
        if there:
            return mine if mine is not None else Away(x.clone() if any(h is x for h in here) else x)
        return x if mine is None else x.clone()

    return tree_map(placed, result)


def _refuse_mixture(func: Any, arguments: Any) -> None:
    """Raise if any of them is here, but for single numbers."""
    for x in tree_leaves(arguments):
        if isinstance(x, Tensor) and not isinstance(x, Away) and x.dim():
            raise RuntimeError(f"{func}: a tensor {tuple(x.shape)} is here, another elsewhere")
