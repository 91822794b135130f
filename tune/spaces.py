"""What the sweep searches: learning rates and loss weights, around the values of the preset."""

from __future__ import annotations

from typing import Any

import ray.tune

from tsme.config import Config

Space = dict[str, Any]


def search_space(config: Config) -> Space:
    """Distributions by dotted configuration key, as `tsme.config.override` takes them.

    Learning rates and w_hc range over a factor of three either side of the preset's value (their
    effect is multiplicative), the heads' weights over [0.25, 2] as published values are all 1.
    λ_cyc and λ_id come from a few values each, so that samples that agree on them share one stage 1.
    What is left out of the method, or set to 0, is left out of the search.
    """
    reid, dsgan = config.reid, config.dsgan
    space = {
        "reid.optimizer.lr": _around(reid.optimizer.lr),
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
        and (reid.pwif or not key.startswith("dsgan."))
        for key, value in configured(config, space).items()
    }
    return {key: space[key] for key in space if used[key]}


def configured(config: Config, space: Space) -> dict[str, float]:
    """The point of the space the configuration stands at: the sweep's first sample."""
    tree: Any = config.model_dump()
    point: dict[str, float] = {}
    for key in space:
        value = tree
        for part in key.split("."):
            value = value[part]
        point[key] = value
    return point


def _around(value: float) -> Any:
    return ray.tune.loguniform(value / 3, value * 3) if value > 0 else None


def _weight(value: float) -> Any:
    return ray.tune.uniform(min(0.25, value), max(2.0, value))


def _multiples(value: float) -> list[float]:
    return [value / 2, value, value * 2]
