"""The Ray cluster a command runs on: the one it was submitted to, or this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from tsme.config import Config, Resources
from tsme.errors import UserError

# How often Ray Train's controller looks after its workers. Reports pass and checkpoints are committed
# at this rate, so with the default of 2 s short epochs would wait for it.
WORKERS = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"}
# What workers take over from the driver's environment.
INHERITED = ("TSME_CACHE",)


@contextmanager
def cluster() -> Iterator[None]:
    """Ray, for the block: RAY_ADDRESS where set (as in a submitted job), else started here.

    A cluster already connected to (by a test, say) is used as it is and left running.
    """
    if ray.is_initialized():
        yield
        return
    submitted = "RAY_ADDRESS" in os.environ
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "WARNING"}
    ray.init(
        "auto" if submitted else "local",
        runtime_env={
            "env_vars": WORKERS | {name: os.environ[name] for name in INHERITED if name in os.environ}
        },
        **(options if submitted else options | {"include_dashboard": True}),
    )
    try:
        yield
    finally:
        ray.shutdown()


def fit_resources(config: Config) -> Config:
    """The configuration with its GPUs decided: one for each worker if the cluster has any.

    Raises UserError if the cluster can never hold one training run.
    """
    have = ray.cluster_resources()
    resources = config.resources
    if resources.gpus is None:
        resources = resources.model_copy(update={"gpus": 1.0 if have.get("GPU", 0) >= 1 else 0.0})
    for name, each in (("CPU", resources.cpus), ("GPU", resources.gpus or 0)):
        needed = each * resources.workers
        if needed > have.get(name, 0):
            raise UserError(
                f"a training run takes {needed:g} {name} ({resources.workers} workers of {each:g}), "
                f"the cluster has {have.get(name, 0):g}: lower resources.workers, cpus or gpus"
            )
    return config.model_copy(update={"resources": resources})


def at_once(resources: Resources) -> int:
    """How many training runs the cluster holds side by side, at least one."""
    have = ray.cluster_resources()
    counts = [have.get("CPU", 0) // (resources.cpus * resources.workers)]
    if resources.gpus:
        counts.append(have.get("GPU", 0) // (resources.gpus * resources.workers))
    return max(1, int(min(counts)))
