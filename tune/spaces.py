"""The search space of the sweep: learning rates and loss weights around the configured values."""

from __future__ import annotations

from typing import Any

import ray.tune

from tsme.config import Config

Space = dict[str, Any]


def search_space(config: Config) -> Space:
    """Distributions by dotted configuration key, as `tsme.settings.override` takes them.

    Learning rates and the hetero-centre weight range from a third of the configured value to three times
    it, on a logarithmic scale; the heads' learning rate up to twelve times it, because published rates
    differ by a factor of ten. The heads' weights range over [0.25, 2], because the published values are
    all 1. The cycle and identity weights of stage 1 have three values each, so that samples with equal
    ones share a trained stage 1. Parts of the method that are off, or have weight 0, are not searched;
    stage 1 is not without `sweep.generators`.
    """
    reid, dsgan = config.reid, config.dsgan
    stage1 = config.sweep.generators and reid.translation == "dsgan"
    space = {
        "reid.optimizer.lr": _around(reid.optimizer.lr, up=12),
        "reid.optimizer.backbone_factor": _around(reid.optimizer.backbone_factor),
        "reid.loss.hetero_centre": _around(reid.loss.hetero_centre),
        "reid.loss.fused": _weight(reid.loss.fused),
        "reid.loss.real": _weight(reid.loss.real),
        "reid.loss.translated": _weight(reid.loss.translated),
        "dsgan.loss.cycle": ray.tune.choice(_multiples(dsgan.loss.cycle)),
        "dsgan.loss.identity": ray.tune.choice(_multiples(dsgan.loss.identity)),
    }
    used = {
        key: value > 0
        and (reid.iai or key not in ("reid.loss.real", "reid.loss.translated"))
        and (stage1 or not key.startswith("dsgan."))
        for key, value in current_point(config, space).items()
    }
    return {key: space[key] for key in space if used[key]}


def current_point(config: Config, space: Space) -> dict[str, float]:
    """The configuration's own values of the searched keys: the sweep's first sample."""
    tree: Any = config.model_dump()
    point: dict[str, float] = {}
    for key in space:
        value = tree
        for part in key.split("."):
            value = value[part]
        point[key] = value
    return point


def _around(value: float, up: float = 3) -> Any:
    return ray.tune.loguniform(value / 3, value * up) if value > 0 else None


def _weight(value: float) -> Any:
    return ray.tune.uniform(min(0.25, value), max(2.0, value))


def _multiples(value: float) -> list[float]:
    return [value / 2, value, value * 2]
