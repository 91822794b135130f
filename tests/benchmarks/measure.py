"""Measuring: both sides take turns, and the medians are compared."""

from __future__ import annotations

import os
import platform
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.setting import Setting


class Disagreement(Exception):
    """The two sides did not do the same work."""


@dataclass(frozen=True)
class Work:
    """Both sides, ready to run, and a check that they do the same.

    `check` runs once before anything is measured; it raises Disagreement or returns what it compared,
    for people to read. Where bytes are measured, the sides return their peak themselves.
    """

    reference: Callable[[], Any]
    ours: Callable[[], Any]
    check: Callable[[], str]


@dataclass(frozen=True)
class Goal:
    """A bound of the ratio (at least of a speed-up, at most of a share of memory), or of our seconds."""

    bound: float
    of: Literal["ratio", "seconds"] = "ratio"


@dataclass(frozen=True)
class Benchmark:
    """One comparison. Work of networks runs on the device, all else on the CPU."""

    name: str
    setup: Callable[[Setting], Work]
    goal: Goal | None = None
    unit: Literal["seconds", "bytes"] = "seconds"
    on_device: bool = False


@dataclass(frozen=True)
class Result:
    """Medians of both sides in `unit`, and their ratio.

    The ratio is reference / ours of seconds, a speed-up, and ours / reference of bytes, a share;
    `lowest` and `highest` are those of single rounds. `met`: whether the goal is, where there is one.
    """

    name: str
    unit: str
    reference: float
    ours: float
    ratio: float
    lowest: float
    highest: float
    rounds: int
    goal: str
    met: bool | None
    checked: str


def measure(
    benchmark: Benchmark, setting: Setting, repeats: int, progress: Callable[[str], None]
) -> Result:
    """Check, then run both sides in turn; `progress` is told what is being done.

    A first round of seconds is thrown away: it fills caches and lets libraries choose algorithms. Peaks
    of memory are taken once, since they do not vary. Raises Disagreement naming the benchmark.
    """
    progress("preparing")
    work = benchmark.setup(setting)
    progress("checking")
    try:
        # Not in TF32, as a GPU's convolutions are by default: its rounding is beyond the tolerances.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            checked = work.check()
    except Disagreement as problem:
        raise Disagreement(f"{benchmark.name}: {problem}") from None
    timed = benchmark.unit == "seconds"
    sides = {"reference": work.reference, "ours": work.ours}
    device = setting.device if benchmark.on_device else torch.device("cpu")
    values: dict[str, list[float]] = {name: [] for name in sides}
    rounds = repeats if timed else 1
    for number in range(-1 if timed else 0, rounds):
        # Alternating order: what one side leaves behind meets either side alike.
        for name in sorted(sides, reverse=number % 2 == 0):
            progress(f"{name}, round {number + 1} of {rounds}" if number >= 0 else f"{name}, warming up")
            value = seconds(sides[name], device) if timed else float(sides[name]())
            if number >= 0:
                values[name].append(value)
    return _result(benchmark, values["reference"], values["ours"], checked)


def _result(benchmark: Benchmark, reference: list[float], ours: list[float], checked: str) -> Result:
    above, below = (reference, ours) if benchmark.unit == "seconds" else (ours, reference)
    single = [a / b for a, b in zip(above, below, strict=True)]
    ratio = median(above) / median(below)
    text, met = "", None
    if goal := benchmark.goal:
        value = ratio if goal.of == "ratio" else median(ours)
        more = goal.of == "ratio" and benchmark.unit == "seconds"
        met = value >= goal.bound if more else value <= goal.bound
        text = f"{'>=' if more else '<='} {goal.bound:g}{' s' * (goal.of == 'seconds')}"
    return Result(
        name=benchmark.name,
        unit=benchmark.unit,
        reference=median(reference),
        ours=median(ours),
        ratio=ratio,
        lowest=min(single),
        highest=max(single),
        rounds=len(single),
        goal=text,
        met=met,
        checked=checked,
    )


def seconds(run: Callable[[], Any], device: torch.device) -> float:
    """Processor time on the CPU, which others on the machine disturb less; elapsed time on a GPU."""
    if device.type == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def peak_bytes(run: Callable[[], Any]) -> int:
    """The most memory Python and NumPy hold during `run`, beyond what they held before it."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def broadcast(what: str, ours: Any, reference: Any, tolerance: float) -> None:
    """Raise Disagreement unless |ours - reference| <= tolerance * max(1, |reference|) everywhere."""
    ours, reference = np.asarray(ours, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if ours.shape != reference.shape:
        raise Disagreement(f"{what} have shapes {ours.shape} and {reference.shape}")
    error = (np.abs(ours - reference) / np.maximum(1, np.abs(reference))).max()
    if not error <= tolerance:  # so that NaN disagrees
        raise Disagreement(f"{what} differ by {error:.2g}, more than {tolerance:g}")


def relative_difference(ours: Tensor, reference: Tensor) -> float:
    """The largest |ours - reference| / |reference| over the embeddings (n, d)."""
    ours, reference = ours.double(), reference.double()
    return float(((ours - reference).norm(dim=1) / reference.norm(dim=1)).max())


def circumstances(setting: Setting) -> dict[str, Any]:
    """Date, hardware and versions, which belong to every figure."""
    cuda = setting.device.type == "cuda"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(setting.device) if cuda else "cpu",
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }


def _cpu() -> str:
    """The processor's name as Linux gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
