"""Connecting to Ray, and whether a training run fits its nodes: those there now and those to come."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import ray
import ray.train
import ray.train.torch
from rich.console import Console

from tsme.config import ResourcesConfig
from tsme.errors import UserError
from tsme.settings import override
from workflows.cluster import network, resources, session, trainer
from workflows.cluster.environment import JOB_CONFIG_VARIABLE

SMALL = {"CPU": 1.0}
BIG = {"CPU": 4.0, "GPU": 1.0}


@pytest.fixture
def nodes(ray_here, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """nodes(first, second, ...): the nodes that Ray lists at each call; the last list stays."""

    def set_nodes(*lists: list[dict[str, float]]) -> None:
        remaining = list(lists)

        def list_nodes() -> list[dict]:
            listed = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            return [{"Alive": True, "Resources": node} for node in listed]

        monkeypatch.setattr(ray, "nodes", list_nodes)

    return set_nodes


@pytest.fixture
def on_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a submitted job, with a timeout that is long enough on a busy machine."""
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setattr(resources, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(resources, "NODE_TIMEOUT_SECONDS", 29.0)


def fit(config, **changes: float) -> tuple[ResourcesConfig, str]:
    """The resources after `fit_resources`, and what it printed."""
    output = StringIO()
    config = override(config, {f"resources.{name}": value for name, value in changes.items()})
    return resources.fit_resources(config, Console(file=output, width=200)).resources, output.getvalue()


def test_a_worker_must_fit_one_node(nodes, tiny_config):
    nodes([SMALL] * 3)
    with pytest.raises(UserError, match=r"1 workers of 2 CPU, each on one node, .* has room for 0"):
        fit(tiny_config, cpus=2)
    assert fit(tiny_config, workers=3) == (ResourcesConfig(workers=3, gpus=0), "")
    nodes([SMALL, {"CPU": 3.0}, {"CPU": 3.0}])
    assert resources.slots(ResourcesConfig(cpus=2)) == 2
    assert resources.slots(ResourcesConfig(cpus=3, workers=2)) == 1
    assert resources.cpus_per_worker(8) == 3


CONNECT = """
from workflows.cluster.session import cluster
with cluster():
    pass
"""


def test_a_wrong_ray_address_is_a_user_error():
    env = os.environ | {"RAY_ADDRESS": "http://127.0.0.1:8265"}  # what `ray job submit` takes
    done = subprocess.run([sys.executable, "-c", CONNECT], env=env, capture_output=True, text=True)
    assert "tsme.errors.UserError: RAY_ADDRESS=http://127.0.0.1:8265: " in done.stderr
    assert "unset it to run on this machine" in done.stderr


def test_workers_get_the_cache_folder_unless_their_job_sets_it(
    monkeypatch: pytest.MonkeyPatch, in_folder
):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.delenv("TSME_CACHE", raising=False)
    assert session.worker_environment() == session.WORKER_DEFAULTS
    monkeypatch.setenv("TSME_CACHE", "cache")
    with_cache = session.WORKER_DEFAULTS | {"TSME_CACHE": str(in_folder / "cache")}
    assert session.worker_environment() == with_cache
    for job_config in ({"runtime_env": {}}, {}):
        monkeypatch.setenv(JOB_CONFIG_VARIABLE, json.dumps(job_config))
        assert session.worker_environment() == with_cache
    job_config = {"runtime_env": {"env_vars": {"TSME_CACHE": "/scratch"}}}
    monkeypatch.setenv(JOB_CONFIG_VARIABLE, json.dumps(job_config))
    assert session.worker_environment() == session.WORKER_DEFAULTS


WORKER = """
import json, os, ray
from workflows.cluster.session import PREEMPTION_VARIABLE, WORKER_DEFAULTS, cluster
@ray.remote(num_cpus=0)
def variables():
    names = (*WORKER_DEFAULTS, PREEMPTION_VARIABLE, "TSME_CACHE", "RAY_TMPDIR")
    return {name: os.environ.get(name) for name in names}
with cluster():
    print(json.dumps(ray.get(variables.remote())))
"""


def test_workers_of_a_local_ray_get_the_same_variables(in_folder: Path):
    """TMPDIR is too long for Ray's sockets here, so that a short folder is taken."""
    long = in_folder / "a-folder-with-a-long-name" / "as-the-temporary-folder-of-a-batch-job"
    long.mkdir(parents=True)
    env = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_TMPDIR")}
    env |= {"TSME_CACHE": "cache", "TMPDIR": str(long)}
    done = subprocess.run([sys.executable, "-c", WORKER], env=env, capture_output=True, text=True)
    expected = session.WORKER_DEFAULTS | {session.PREEMPTION_VARIABLE: "0"}
    expected |= {"TSME_CACHE": str(in_folder / "cache")}
    assert done.stdout, done.stderr
    variables = json.loads(done.stdout.splitlines()[-1])
    folder = Path(variables.pop("RAY_TMPDIR"))
    assert variables == expected, done.stderr
    assert folder.parent == Path("/tmp") and not folder.exists(), "the folder is removed at the end"


def test_a_folder_that_ray_cannot_use_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("long" * 30)))
    with pytest.raises(
        UserError, match=r"longlong.*: Ray's sockets need a folder of at most \d+ bytes; set"
    ):
        session._short_folder().__enter__()


def test_a_ray_folder_of_another_user_is_not_used(monkeypatch: pytest.MonkeyPatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        (Path(folder) / "ray").mkdir()
        writable = os.access
        monkeypatch.setattr(
            os, "access", lambda path, mode: "ray" not in str(path) and writable(path, mode)
        )
        with pytest.raises(UserError, match=rf"{folder}/ray: Ray cannot write there; set RAY_TMPDIR"):
            session._short_folder().__enter__()


def test_gpus_are_used_if_there_are_any(nodes, tiny_config):
    nodes([SMALL, BIG])
    assert fit(tiny_config)[0].gpus == 1
    assert fit(tiny_config, gpus=0)[0].gpus == 0
    with pytest.raises(UserError, match=r"takes 2 GPU \(2 workers of 1\), the cluster has 1"):
        fit(tiny_config, workers=2)
    # Fractions such as 1 / 0.1 are counted as whole numbers.
    for parts in (2, 3, 4):
        assert resources.slots(ResourcesConfig(gpus=1 / parts)) == parts


def concurrent_trials(trials: int, **changes: float) -> tuple[int, str]:
    """How many trials are trained at once, and what was printed meanwhile."""
    output = StringIO()
    console = Console(file=output, width=200)
    return resources.side_by_side(ResourcesConfig(**changes), trials, console), output.getvalue()


def test_as_many_trials_at_once_as_fit(nodes):
    nodes([BIG, BIG])
    assert concurrent_trials(10) == (8, "") and concurrent_trials(3) == (3, "")
    assert concurrent_trials(10, at_once=2) == (2, "") and concurrent_trials(10, gpus=1) == (2, "")
    assert concurrent_trials(10, at_once=5, gpus=1) == (2, "")  # a local Ray gets no more nodes


def test_nodes_for_concurrent_trials_are_waited_for(nodes, on_a_cluster, monkeypatch):
    nodes([BIG], [BIG, BIG], [BIG] * 3)
    count, printed = concurrent_trials(10, at_once=3, gpus=1)
    assert count == 3 and "takes 3 GPU" in printed and "nodes are available" in printed
    monkeypatch.setattr(resources, "NODE_TIMEOUT_SECONDS", 0.1)
    nodes([BIG, BIG])
    count, printed = concurrent_trials(10, at_once=3, gpus=1)
    assert count == 2 and "continuing with the available nodes" in printed


def test_a_cluster_may_grow(nodes, on_a_cluster, tiny_config):
    nodes([], [], [SMALL], [SMALL, BIG], [BIG, BIG])
    fitted, printed = fit(tiny_config, workers=2, gpus=1)
    assert fitted == ResourcesConfig(workers=2, gpus=1)
    first, second, last = printed.splitlines()  # one line per change, not per poll
    assert first.startswith("waiting for nodes, up to 0 min: a training run takes 2 GPU (2 workers of 1)")
    assert first.endswith("the cluster has 0")
    assert second.endswith("the cluster has 1")
    assert last.startswith("nodes are available after")
    deadline = time.monotonic() + 30  # Ray removes the placement group asynchronously
    while any(group["state"] != "REMOVED" for group in ray.util.placement_group_table().values()):
        assert time.monotonic() < deadline, ray.util.placement_group_table()
        time.sleep(0.1)


def test_waiting_for_nodes_times_out(nodes, on_a_cluster, tiny_config, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resources, "NODE_TIMEOUT_SECONDS", 0.2)
    nodes([SMALL])
    with pytest.raises(UserError, match=r"takes 1 GPU .* the cluster has 0: lower resources"):
        fit(tiny_config, gpus=1)


def test_without_any_node_the_configured_cpus_are_waited_for(nodes):
    nodes([])
    assert resources.cpus_per_worker(8) == 8


def test_gloo_uses_the_interface_of_this_node(ray_here, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(network.INTERFACE_VARIABLE, "")  # so that it is restored afterwards
    monkeypatch.delenv(network.INTERFACE_VARIABLE)
    assert network.interface("203.0.113.1") is None
    assert network.interface("127.0.0.1") in ("lo", "lo0")
    network.use_cluster_network()
    assert os.environ[network.INTERFACE_VARIABLE] == network.interface(ray.util.get_node_ip_address())
    monkeypatch.setenv(network.INTERFACE_VARIABLE, "chosen")
    network.use_cluster_network()
    assert os.environ[network.INTERFACE_VARIABLE] == "chosen"


def test_the_developer_interfaces_of_ray_are_as_the_trainer_uses_them():
    """If Ray moves or changes them, adapt workflows/cluster/trainer.py, which says why it uses them."""
    assert not hasattr(ray.train, "DataParallelTrainer"), "it is public now: import it from ray.train"
    assert issubclass(ray.train.torch.TorchTrainer, trainer.DataParallelTrainer)
    arguments = {"train_loop_config", "backend_config", "scaling_config", "run_config"}
    assert arguments <= set(inspect.signature(trainer.DataParallelTrainer).parameters)
    backend = ray.train.torch.TorchConfig().backend_cls
    assert list(inspect.signature(backend.on_start).parameters) == [
        "self",
        "worker_group",
        "backend_config",
    ]
    assert trainer.ClusterTorchConfig().backend_cls.__mro__[1] is backend
