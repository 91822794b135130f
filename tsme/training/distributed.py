"""Where one training process runs: its rank, its device, and how networks are wrapped there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tsme.config import Precision, TrainingPrecision
from tsme.numerics import autocast

BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # of x86, of x86, of ARM


@dataclass(frozen=True)
class Worker:
    """One of `world_size` processes that train together; alone by default."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this is the worker that writes files and validates."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network on this worker's device, averaging gradients where there are several.

        Channels last: convolutions are faster that way, on the CPU (1.7 times for the demo's
        streams) as on tensor cores.
        """
        network = network.to(self.device).to(memory_format=torch.channels_last)
        if self.world_size == 1:
            return network
        # Gradients lie in the buffers that are sent: no second copy of them, nor a copy in each step.
        return DistributedDataParallel(network, gradient_as_bucket_view=True)

    def autocast(self, precision: Precision) -> torch.autocast:
        """A block whose convolutions, products and the maps between them are of this precision."""
        return autocast(self.device, precision)

    def precision(self, setting: TrainingPrecision) -> Precision:
        """`setting`, with "auto" decided by the main worker's device, so that all workers agree."""
        if setting != "auto":
            return setting
        return "bfloat16" if self.broadcast(auto_precision(self.device) == "bfloat16") else "float32"

    def to_device_if_fits(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Images (n, 3, H, W) uint8 where batches are best taken from: the device, if it has room.

        Together they may take a quarter of its free memory; SYSU-MM01's training images at 288x144 and
        their translations are 8.5 GB. Otherwise they stay, and every batch is sent.
        """
        if self.device.type != "cuda":
            return images
        free, _ = torch.cuda.mem_get_info(self.device)
        # What earlier networks of this process left is kept by PyTorch, free for the next.
        free += torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        if sum(x.nbytes for x in images) > free // 4:
            return images
        return tuple(x.to(self.device) for x in images)

    def mean(self, values: Tensor) -> Tensor:
        """Average over all workers."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values / self.world_size

    def broadcast(self, fact: bool) -> bool:
        """What the leading worker holds true, for all of them: file systems may show them differently."""
        if self.world_size == 1:
            return fact
        value = torch.tensor([int(fact)], device=self.device)
        dist.broadcast(value, src=0)
        return bool(value.item())

    def gather(self, values: Any) -> list[Any]:
        """What every worker has, by rank."""
        if self.world_size == 1:
            return [values]
        everybody = [None] * self.world_size
        dist.all_gather_object(everybody, values)
        return everybody

    def barrier(self) -> None:
        """Until all workers are here."""
        if self.world_size > 1:
            dist.barrier()


def auto_precision(device: torch.device) -> Precision:
    """bfloat16 on GPUs and CPUs that have instructions for it, else float32: emulation is slow."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # torch.cpu.get_capabilities is missing from the oldest releases supported.
        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        native = any(capabilities.get(name) for name in BF16_INSTRUCTIONS)
    return "bfloat16" if native else "float32"


def unwrap_model(network: nn.Module) -> nn.Module:
    """The network itself, without the wrapper of several workers."""
    return network.module if isinstance(network, DistributedDataParallel) else network
