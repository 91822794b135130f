"""What `precision=auto` stands for on a device: bfloat16 where its instructions are there and pay."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from tsme.config import Config, Precision, TrainingPrecision
from tsme.training.distributed import Worker
from tsme.training.loop import Stage

# Pixels of an image times channels after the stem. Measured on a processor with AVX-512's bfloat16
# (docs/performance.md): 96x48 pixels and 16 channels, 2**16.2, gain nothing; from 2**17.2 on all do.
LEAST_MAP = 2**17


class Choice(NamedTuple):
    """A precision and what speaks for it, as half a sentence."""

    precision: Precision
    why: str


def choose(config: Config, stage: Stage, device: torch.device) -> Choice:
    """What suits a stage of this configuration on a device; it depends on nothing else."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Choice("bfloat16", f"{name} multiplies it on tensor cores")
        return Choice("float32", f"{name} has no bfloat16")
    # Older releases of torch cannot tell.
    told: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if not told.get("avx512_bf16"):
        return Choice("float32", "this processor has no instructions for bfloat16")
    image, channels = config.image, getattr(config, stage).backbone.width
    maps = f"{image.height}x{image.width} pixels and {channels} channels"
    if image.height * image.width * channels < LEAST_MAP:
        return Choice("float32", f"maps of {maps} are too small for bfloat16 to pay")
    return Choice("bfloat16", f"this processor has instructions for it, which pay on maps of {maps}")


def precision_of(config: Config, stage: Stage, worker: Worker) -> Precision:
    """As configured, or what suits the leading worker's device: all that train together do alike."""
    asked: TrainingPrecision = getattr(config, stage).precision
    if asked != "auto":
        return asked
    half = worker.broadcast(choose(config, stage, worker.device).precision == "bfloat16")
    return "bfloat16" if half else "float32"
