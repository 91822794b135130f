"""CPUs and GPUs of the cluster: whether a training run fits, how many fit at once, waiting for nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from rich.console import Console

from tsme.config import Config, ResourcesConfig
from tsme.errors import JobFailed, UserError
from workflows.cluster.session import on_shared_cluster

# How long a command waits for nodes: starting a machine with a GPU takes minutes, loading an image more.
NODE_TIMEOUT_SECONDS = 900.0
POLL_SECONDS = 1.0


def fit_resources(config: Config, console: Console) -> Config:
    """The configuration with `resources.gpus` decided: one per worker if the cluster has any GPU now.

    On a shared cluster this waits for the nodes that a training run needs. Raises UserError if a training
    run does not fit.
    """
    resources = config.resources
    if resources.gpus is None:
        resources = resources.model_copy(update={"gpus": 1.0 if _total(_nodes(), "GPU") >= 1 else 0.0})
    missing = lacking(resources)
    if missing and on_shared_cluster():
        missing = _wait_for_nodes(resources, console)
    if missing:
        raise UserError(f"{missing}: lower resources.workers, cpus or gpus")
    return config.model_copy(update={"resources": resources})


def slots(resources: ResourcesConfig) -> int:
    """How many worker groups the cluster can hold at once now, at least one."""
    return max(1, _worker_capacity(_nodes(), resources) // resources.workers)


def side_by_side(resources: ResourcesConfig, trials: int, console: Console) -> int:
    """How many trials to train at once: at least one, at most `trials`.

    If `resources.at_once` is set, a shared cluster gets time to start the nodes for it; after that, the
    nodes that came are used.
    """
    count = min(resources.at_once or trials, trials)
    if resources.at_once and on_shared_cluster():
        all_workers = resources.model_copy(update={"workers": count * resources.workers})
        if missing := _wait_for_nodes(all_workers, console):
            console.print(f"continuing with the available nodes: {missing}", soft_wrap=True)
    return min(count, slots(resources))


def cpus_per_worker(limit: int) -> int:
    """`limit` CPUs, or as many as the largest node has if those are fewer. Without any node: `limit`."""
    largest = int(max((node.get("CPU", 0) for node in _nodes()), default=0))
    return min(limit, largest) if largest else limit


def lacking(resources: ResourcesConfig) -> str | None:
    """What the cluster lacks for a training run, as a message; None if the run fits."""
    nodes = _nodes()
    for name, share in reversed(worker_resources(resources).items()):  # GPUs first: they are scarcer
        needed, available = share * resources.workers, _total(nodes, name)
        if needed > available:
            required = f"{needed:g} {name} ({resources.workers} workers of {share:g})"
            return f"a training run takes {required}, the cluster has {available:g}"
    capacity = _worker_capacity(nodes, resources)
    if capacity < resources.workers:
        size = " and ".join(f"{share:g} {name}" for name, share in worker_resources(resources).items())
        return (
            f"a training run takes {resources.workers} workers of {size}, each on one node, "
            f"the cluster has room for {capacity}"
        )
    return None


def worker_resources(resources: ResourcesConfig) -> dict[str, float]:
    """What Ray reserves for one worker."""
    return {"CPU": float(resources.cpus)} | ({"GPU": resources.gpus} if resources.gpus else {})


def worker_task(function: Callable[..., Any], resources: ResourcesConfig) -> Any:
    """The function as a Ray task on the CPUs and GPU of one worker.

    It is retried twice if its process dies, or if it raises JobFailed because a store does not answer.
    """
    return ray.remote(
        num_cpus=resources.cpus,
        num_gpus=resources.gpus or 0,
        max_retries=2,
        retry_exceptions=[JobFailed],
    )(function)


def _wait_for_nodes(resources: ResourcesConfig, console: Console) -> str | None:
    """Wait until a training run fits; returns what is still lacking after the timeout."""
    start, printed = time.monotonic(), None
    with _node_request(resources):
        while missing := lacking(resources):
            left = NODE_TIMEOUT_SECONDS - (time.monotonic() - start)
            if left <= 0:
                return missing
            if missing != printed:
                console.print(f"waiting for nodes, up to {left / 60:.0f} min: {missing}", soft_wrap=True)
                printed = missing
            time.sleep(POLL_SECONDS)
    console.print(f"nodes are available after {time.monotonic() - start:.0f} s")
    return None


@contextmanager
def _node_request(resources: ResourcesConfig) -> Iterator[None]:
    """Request the nodes of a training run from the autoscaler, for the block.

    A placement group ends with this process. `request_resources` would keep the nodes until it is
    called again.
    """
    group = ray.util.placement_group([worker_resources(resources)] * resources.workers)
    try:
        yield
    finally:
        ray.util.remove_placement_group(group)


def _worker_capacity(nodes: list[dict[str, float]], resources: ResourcesConfig) -> int:
    """How many workers the nodes can hold. A worker's resources must all be on one node."""
    shares = worker_resources(resources).items()
    # Rounding: the available GPUs divided by a fraction of one may come out just below a whole number.
    return sum(min(int(node.get(name, 0) / share + 1e-6) for name, share in shares) for node in nodes)


def _total(nodes: list[dict[str, float]], name: str) -> float:
    return sum(node.get(name, 0) for node in nodes)


def _nodes() -> list[dict[str, float]]:
    """The resources of every living node."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
