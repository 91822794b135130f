"""The Ray cluster a command runs on: the one it was submitted to, or this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from rich.console import Console

from tsme.config import Config, ResourcesConfig
from tsme.errors import UserError
from workflows.cluster.environment import job_environment

WORKERS = {
    # How often Ray Train's controller looks after its workers. Reports pass and checkpoints are
    # committed at this rate, so with the default of 2 s short epochs would wait for it.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # How long it waits for room for them, four times over (MAX_FAILURES): a node that takes the place of
    # a lost one needs minutes to come, and with the default of 60 s the run would not see it.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
}
# Whether to look, in one more process for each training run, if the cloud is about to take a node away.
WATCH = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
# Seconds a command waits for nodes: minutes for a machine with a GPU, and more for a large image.
PATIENCE = 900.0
ASK = 1.0


def shared() -> bool:
    """Whether Ray is a cluster that others started, whose nodes come and go; else it is this machine."""
    return "RAY_ADDRESS" in os.environ


@contextmanager
def cluster() -> Iterator[None]:
    """Ray, for the block: RAY_ADDRESS where set (as in a submitted job), else started here.

    A cluster already connected to (by a test, say) is used as it is and left running. Where Ray is
    started here, this process keeps the variables that are for its workers.
    """
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "WARNING"}
    if shared():
        options |= {"address": "auto", "runtime_env": {"env_vars": workers_environment()}}
    else:  # what inherits this process's environment starts sooner than with one of its own
        os.environ |= workers_environment()
        options |= {"address": "local", "include_dashboard": True}
    try:
        ray.init(**options)
    except (ValueError, ConnectionError) as error:
        if not shared():
            raise
        address = os.environ["RAY_ADDRESS"]
        raise UserError(
            f"RAY_ADDRESS={address}: {error}; give the address of a head such as 10.0.0.1:6379, or "
            "unset it to run on this machine"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def workers_environment() -> dict[str, str]:
    """What Ray is to set for workers.

    Not what a submitted job's own runtime environment sets, which Ray lets nobody set again.
    """
    wanted = dict(WORKERS)
    if not shared():
        wanted[WATCH] = "0"
    if cache := os.environ.get("TSME_CACHE"):  # workers have other working folders
        wanted["TSME_CACHE"] = str(Path(cache).resolve())
    return {name: value for name, value in wanted.items() if name not in job_environment()}


def fit_resources(config: Config, console: Console) -> Config:
    """The configuration with its GPUs decided: one for each worker if the cluster has any now.

    On a shared cluster this waits for nodes that a training run needs and that are not there yet.
    Raises UserError if the cluster cannot hold one.
    """
    resources = config.resources
    if resources.gpus is None:
        resources = resources.model_copy(update={"gpus": 1.0 if _total(_nodes(), "GPU") >= 1 else 0.0})
    missing = lacking(resources)
    if missing and shared():
        missing = _wait_for_nodes(resources, console)
    if missing:
        raise UserError(f"{missing}: lower resources.workers, cpus or gpus")
    return config.model_copy(update={"resources": resources})


def at_once(resources: ResourcesConfig) -> int:
    """How many training runs the cluster holds side by side now, at least one."""
    return max(1, _places(_nodes(), resources) // resources.workers)


def side_by_side(resources: ResourcesConfig, trials: int, console: Console) -> int:
    """How many trials to train side by side; at most `trials`, at least one.

    Where a number is configured, a shared cluster is given some time to bring the nodes for it; then it
    is what came.
    """
    wanted = min(resources.at_once or trials, trials)
    if resources.at_once and shared():
        everything = resources.model_copy(update={"workers": wanted * resources.workers})
        if missing := _wait_for_nodes(everything, console):
            console.print(f"going on with the nodes there are: {missing}", soft_wrap=True)
    return min(wanted, at_once(resources))


def cpus_of_a_worker(wanted: int) -> int:
    """As many CPUs as wanted, or as the largest node has if those are fewer."""
    largest = int(max((node.get("CPU", 0) for node in _nodes()), default=0))
    return min(wanted, largest) if largest else wanted  # no node yet: wait for one of that size


def lacking(resources: ResourcesConfig) -> str | None:
    """What the cluster lacks for a training run, None if it holds one."""
    nodes = _nodes()
    for name, each in reversed(of_a_worker(resources).items()):  # the scarce GPUs first
        needed, have = each * resources.workers, _total(nodes, name)
        if needed > have:
            takes = f"{needed:g} {name} ({resources.workers} workers of {each:g})"
            return f"a training run takes {takes}, the cluster has {have:g}"
    places = _places(nodes, resources)
    if places < resources.workers:
        size = " and ".join(f"{each:g} {name}" for name, each in of_a_worker(resources).items())
        return (
            f"a training run takes {resources.workers} workers of {size}, each on one node, "
            f"the cluster has room for {places}"
        )
    return None


def of_a_worker(resources: ResourcesConfig) -> dict[str, float]:
    """What Ray reserves for one worker."""
    return {"CPU": float(resources.cpus)} | ({"GPU": resources.gpus} if resources.gpus else {})


def _wait_for_nodes(resources: ResourcesConfig, console: Console) -> str | None:
    """Wait until a training run fits; returns what is still lacking when patience ends."""
    began, told = time.monotonic(), None
    with _asked_for(resources):
        while missing := lacking(resources):
            left = PATIENCE - (time.monotonic() - began)
            if left <= 0:
                return missing
            if missing != told:
                console.print(f"waiting for nodes, up to {left / 60:.0f} min: {missing}", soft_wrap=True)
                told = missing
            time.sleep(ASK)
    console.print(f"nodes are there after {time.monotonic() - began:.0f} s")
    return None


@contextmanager
def _asked_for(resources: ResourcesConfig) -> Iterator[None]:
    """Ask an autoscaler for the nodes of a training run, for the block.

    By a placement group, which goes when this process dies: what `request_resources` asks for would be
    kept up until somebody takes it back.
    """
    group = ray.util.placement_group([of_a_worker(resources)] * resources.workers)
    try:
        yield
    finally:
        ray.util.remove_placement_group(group)


def _places(nodes: list[dict[str, float]], resources: ResourcesConfig) -> int:
    """How many workers the nodes hold: a worker's share must be on one of them, not here and there."""
    share = of_a_worker(resources).items()
    # Fractions of a GPU: 1 / 0.1 may come out just below 10.
    return sum(min(int(node.get(name, 0) / each + 1e-6) for name, each in share) for node in nodes)


def _total(nodes: list[dict[str, float]], name: str) -> float:
    return sum(node.get(name, 0) for node in nodes)


def _nodes() -> list[dict[str, float]]:
    """The resources of every living node."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
