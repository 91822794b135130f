"""Peak memory of one side's steps of stage 2: `python -m tests.benchmarks.peak SIDE SIZE DEVICE`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import torch

from tests.benchmarks import stage2
from tests.benchmarks.setting import Setting, Size


def main(side: str, size: str, device: str) -> None:
    """Print the peak in bytes as JSON."""
    torch.set_num_threads(1)
    setting = Setting(cast(Size, size), torch.device(device))
    step: Callable[[], object]
    if side == "reference":
        step = stage2.reference_step(setting, stage2.build_reference(setting), stage2.LARGE)
    else:
        step = partial(
            stage2.our_step, stage2.build_task(setting, stage2.LARGE, "bfloat16"), stage2.LARGE
        )
    for _ in range(2):
        step()
    print(json.dumps({"bytes": peak(setting.device)}))


def peak(device: torch.device) -> int:
    """Of the GPU's memory, or of the whole process.

    Not `ru_maxrss`: that begins with the memory of the process that started this one.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status names no VmHWM")


if __name__ == "__main__":
    main(*sys.argv[1:])
