"""A stand-in for a GPU on machines without one: most code that would fail on a GPU fails on it too.

Its tensors report PyTorch's device "meta" and keep their values in the CPU's memory. As on a GPU, these
are refused: operations on tensors of both devices, NumPy views of its tensors, random numbers drawn on it
by a generator of the CPU. It records the operations that the host would wait for. Values are computed
by the CPU, so equal results show that nothing depends on where a tensor is, not what a GPU would compute.
Code that names CUDA is not covered: pinned memory, free memory, autocast, NCCL.
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

STAND_IN = torch.device("meta")
CPU = torch.device("cpu")
MOVES = {"_to_copy", "copy_", "to"}
# Indexing: the one operation for which a GPU accepts an index on the CPU.
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
# The size of their results depends on values, so the host waits for them.
VALUE_SIZED = {
    "masked_select", "nonzero", "repeat_interleave", "unique_consecutive", "unique_dim", "_unique2",
}  # fmt: skip


class StandInTensor(Tensor):
    """A tensor on the stand-in device; `values` is the tensor of the CPU that it wraps."""

    values: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> StandInTensor:
        return Tensor._make_wrapper_subclass(
            cls, values.shape, strides=values.stride(), storage_offset=values.storage_offset(),
            dtype=values.dtype, device=STAND_IN,
        )  # fmt: skip

    def __init__(self, values: Tensor) -> None:
        self.values = values

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})

    def tolist(self) -> Any:  # PyTorch refuses it for every subclass
        return self.cpu().tolist()


class StandInMode(TorchDispatchMode):
    """Lets tensors be sent to STAND_IN; `waited_for` lists the operations the host would wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = _call(func, args, kwargs or {})
        on_device = [x for x in tree_leaves((args, kwargs)) if isinstance(x, StandInTensor)]
        on_cpu = [x for x in tree_leaves(result) if not isinstance(x, StandInTensor) and x is not None]
        name = func.overloadpacket.__name__
        masked = name in INDEXING and any(
            x.dtype == torch.bool for x in tree_leaves(args[1]) if x is not None
        )
        if on_device and (on_cpu or masked or name in VALUE_SIZED):
            self.waited_for.append(name)
        return result


@contextmanager
def stand_in_device() -> Iterator[StandInMode]:
    """Enable the stand-in device, and make PyTorch treat "meta" as a device that computes."""
    supported = "torch.optim.optimizer._get_fused_kernels_supported_devices"
    autocast = torch.autocast
    swap = torch.__future__.get_swap_module_params_on_conversion()
    # Moved parameters become new tensors: assigning `.data` cannot change a wrapped tensor.
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with (
            patch(supported, lambda: ["cpu", STAND_IN.type]),
            patch("torch.autocast", lambda device, *a, **k: autocast("cpu", *a, **k)),
            warnings.catch_warnings(),
            StandInMode() as mode,
        ):
            warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")  # it does copy
            yield mode
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swap)


def _call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the operation on the wrapped tensors; put its result where PyTorch would put it."""
    leaves = tree_leaves((args, kwargs))
    on_device = [x for x in leaves if isinstance(x, StandInTensor)]
    on_cpu = [x for x in leaves if isinstance(x, Tensor) and not isinstance(x, StandInTensor)]
    devices = [x for x in leaves if isinstance(x, torch.device)]
    to_device = devices[0] == STAND_IN if devices else bool(on_device)
    name = func.overloadpacket.__name__
    if name == "copy_":
        to_device = isinstance(args[0], StandInTensor)
    elif name not in MOVES and on_device:
        # The index may be on the CPU; the indexed tensor and the new values may not.
        _refuse_mixture(func, (args[0], args[2:]) if name in INDEXING else (args, kwargs))
    if to_device and any(isinstance(x, torch.Generator) for x in leaves):
        raise RuntimeError(f"{func}: a generator of the CPU cannot draw on the stand-in device")

    def unwrap(x: Any) -> Any:
        return x.values if isinstance(x, StandInTensor) else CPU if isinstance(x, torch.device) else x

    result = func(*tree_map(unwrap, args), **tree_map(unwrap, kwargs))

    def wrap(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        owner = next((tensor for tensor in on_device if tensor.values is x), None)
        if to_device:
            shared = any(tensor is x for tensor in on_cpu)
            return owner if owner is not None else StandInTensor(x.clone() if shared else x)
        return x if owner is None else x.clone()

    return tree_map(wrap, result)


def _refuse_mixture(func: Any, arguments: Any) -> None:
    """Raise RuntimeError if a tensor, other than a single number, is on the CPU."""
    for x in tree_leaves(arguments):
        if isinstance(x, Tensor) and not isinstance(x, StandInTensor) and x.dim():
            raise RuntimeError(f"{func}: a tensor {tuple(x.shape)} is on the CPU, another on the device")
