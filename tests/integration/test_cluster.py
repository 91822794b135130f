"""Whether a training run fits the cluster: its single nodes, those there now and those to come."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import ray
from rich.console import Console

from tsme.config import ResourcesConfig, override
from tsme.errors import UserError
from workflows.cluster import network as peers
from workflows.cluster import session as cluster
from workflows.cluster.environment import JOB

SMALL = {"CPU": 1.0}
BIG = {"CPU": 4.0, "GPU": 1.0}


@pytest.fixture
def nodes(ray_here, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the nodes that the cluster has at the first, second, ... look; the last ones stay."""

    def has(*looks: list[dict[str, float]]) -> None:
        left = list(looks)

        def look() -> list[dict]:
            seen = left.pop(0) if len(left) > 1 else left[0]
            return [{"Alive": True, "Resources": node} for node in seen]

        monkeypatch.setattr(ray, "nodes", look)

    return has


@pytest.fixture
def on_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a submitted job, and with patience for a busy machine only."""
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setattr(cluster, "ASK", 0.01)
    monkeypatch.setattr(cluster, "PATIENCE", 29.0)


def fit(config, **resources: float) -> tuple[ResourcesConfig, str]:
    """The resources that were found, and what was said meanwhile."""
    said = StringIO()
    asked = override(config, {f"resources.{name}": value for name, value in resources.items()})
    return cluster.fit_resources(asked, Console(file=said, width=200)).resources, said.getvalue()


def test_a_worker_must_fit_one_node(nodes, tiny_config):
    nodes([SMALL] * 3)
    with pytest.raises(UserError, match=r"1 workers of 2 CPU, each on one node, .* has room for 0"):
        fit(tiny_config, cpus=2)
    assert fit(tiny_config, workers=3) == (ResourcesConfig(workers=3, gpus=0), "")
    nodes([SMALL, {"CPU": 3.0}, {"CPU": 3.0}])
    assert cluster.at_once(ResourcesConfig(cpus=2)) == 2
    assert cluster.at_once(ResourcesConfig(cpus=3, workers=2)) == 1
    assert cluster.cpus_of_a_worker(8) == 3


ENTER = """
from workflows.cluster.session import cluster
with cluster():
    pass
"""


def test_an_address_that_is_no_cluster_is_told_in_words():
    env = os.environ | {"RAY_ADDRESS": "http://127.0.0.1:8265"}  # what `ray job submit` takes
    done = subprocess.run([sys.executable, "-c", ENTER], env=env, capture_output=True, text=True)
    assert "tsme.errors.UserError: RAY_ADDRESS=http://127.0.0.1:8265: " in done.stderr
    assert "unset it to run on this machine" in done.stderr


def test_workers_are_told_of_the_cache_unless_their_job_tells_them(
    monkeypatch: pytest.MonkeyPatch, in_folder
):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.delenv("TSME_CACHE", raising=False)
    assert cluster.workers_environment() == cluster.WORKERS
    monkeypatch.setenv("TSME_CACHE", "cache")
    ours = cluster.WORKERS | {"TSME_CACHE": str(in_folder / "cache")}
    assert cluster.workers_environment() == ours
    for known in ({"runtime_env": {}}, {}):
        monkeypatch.setenv(JOB, json.dumps(known))
        assert cluster.workers_environment() == ours
    monkeypatch.setenv(JOB, json.dumps({"runtime_env": {"env_vars": {"TSME_CACHE": "/scratch"}}}))
    assert cluster.workers_environment() == cluster.WORKERS


WORKER = """
import os, ray
from workflows.cluster.session import WATCH, WORKERS, cluster
@ray.remote(num_cpus=0)
def told():
    return {name: os.environ.get(name) for name in (*WORKERS, WATCH, "TSME_CACHE")}
with cluster():
    print(ray.get(told.remote()))
"""


def test_workers_of_this_machine_are_told_the_same(in_folder: Path):
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    env |= {"TSME_CACHE": "cache"}
    done = subprocess.run([sys.executable, "-c", WORKER], env=env, capture_output=True, text=True)
    told = cluster.WORKERS | {cluster.WATCH: "0", "TSME_CACHE": str(in_folder / "cache")}
    assert done.stdout.splitlines()[-1:] == [str(told)], done.stderr


def test_gpus_are_taken_where_there_are_any(nodes, tiny_config):
    nodes([SMALL, BIG])
    assert fit(tiny_config)[0].gpus == 1
    assert fit(tiny_config, gpus=0)[0].gpus == 0
    with pytest.raises(UserError, match=r"takes 2 GPU \(2 workers of 1\), the cluster has 1"):
        fit(tiny_config, workers=2)
    # 1 / 0.1 and its like are counted whole.
    for parts in (2, 3, 4):
        assert cluster.at_once(ResourcesConfig(gpus=1 / parts)) == parts


def beside(trials: int, **resources: float) -> tuple[int, str]:
    """How many trials go side by side, and what was said meanwhile."""
    said = StringIO()
    count = cluster.side_by_side(ResourcesConfig(**resources), trials, Console(file=said, width=200))
    return count, said.getvalue()


def test_trials_go_side_by_side_as_far_as_there_is_room(nodes):
    nodes([BIG, BIG])
    assert beside(10) == (8, "") and beside(3) == (3, "")
    assert beside(10, at_once=2) == (2, "") and beside(10, gpus=1) == (2, "")
    assert beside(10, at_once=5, gpus=1) == (2, "")  # nobody would bring more


def test_nodes_for_trials_side_by_side_are_waited_for(nodes, on_a_cluster, monkeypatch):
    nodes([BIG], [BIG, BIG], [BIG] * 3)
    count, said = beside(10, at_once=3, gpus=1)
    assert count == 3 and "takes 3 GPU" in said and "nodes are there" in said
    monkeypatch.setattr(cluster, "PATIENCE", 0.1)
    nodes([BIG, BIG])
    count, said = beside(10, at_once=3, gpus=1)
    assert count == 2 and "going on with the nodes there are" in said


def test_a_cluster_may_grow(nodes, on_a_cluster, tiny_config):
    nodes([], [], [SMALL], [SMALL, BIG], [BIG, BIG])
    found, said = fit(tiny_config, workers=2, gpus=1)
    assert found == ResourcesConfig(workers=2, gpus=1)
    first, second, last = said.splitlines()  # a line for what has changed, not for every look
    assert first.startswith("waiting for nodes, up to 0 min: a training run takes 2 GPU (2 workers of 1)")
    assert first.endswith("the cluster has 0")
    assert second.endswith("the cluster has 1")
    assert last.startswith("nodes are there after")
    deadline = time.monotonic() + 30  # Ray removes it in its own time
    while any(group["state"] != "REMOVED" for group in ray.util.placement_group_table().values()):
        assert time.monotonic() < deadline, ray.util.placement_group_table()
        time.sleep(0.1)


def test_patience_ends(nodes, on_a_cluster, tiny_config, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "PATIENCE", 0.2)
    nodes([SMALL])
    with pytest.raises(UserError, match=r"takes 1 GPU .* the cluster has 0: lower resources"):
        fit(tiny_config, gpus=1)


def test_without_any_node_the_wanted_size_is_waited_for(nodes):
    nodes([])
    assert cluster.cpus_of_a_worker(8) == 8


def test_gloo_is_told_the_network_of_this_node(ray_here, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(peers.VARIABLE, "")  # so that it is as before afterwards
    monkeypatch.delenv(peers.VARIABLE)
    assert peers.interface("203.0.113.1") is None
    if sys.platform == "linux":
        assert peers.interface("127.0.0.1") == "lo"
        peers.use_cluster_network()
        assert os.environ[peers.VARIABLE] == peers.interface(ray.util.get_node_ip_address())
    monkeypatch.setenv(peers.VARIABLE, "chosen")
    peers.use_cluster_network()
    assert os.environ[peers.VARIABLE] == "chosen"
