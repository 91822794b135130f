"""Ray on three hosts, each a network namespace; jobs from a fourth. Nodes fail, disconnect, join late."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.support.netns import Host, Network, why_impossible

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))
NODE = ["--block", "--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats"]
# The head checks its nodes every second, and declares one dead after three missed checks: after 18 s
# instead of a minute.
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}
# Prints the response of a URL.
FETCH = """
import os, sys, urllib.request as web
token = {"Authorization": "Bearer " + os.environ["RAY_AUTH_TOKEN"]}
print(web.urlopen(web.Request(sys.argv[1], headers=token), timeout=20).read().decode())
"""
SETTINGS = ["resources.workers=2", "reid.identities=2", "dsgan.epochs=1"]
TIMEOUT_SECONDS = 300.0  # five times what an idle machine takes


def until(ready: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Wait until `ready` returns something true; returns it."""
    deadline = time.monotonic() + seconds
    while not (result := ready()):
        assert time.monotonic() < deadline, f"not ready after {seconds:.0f} s"
        time.sleep(0.2)
    return result


@dataclass
class Job:
    """A submitted job, as seen through the output of `ray job submit`."""

    name: str
    process: subprocess.Popen[str]
    log: Path
    out: Path

    def wait_for_output(self, text: str) -> None:
        """Wait until the job prints this text."""
        until(lambda: text in self.log.read_text() or self.process.poll() is not None, TIMEOUT_SECONDS)
        assert text in self.log.read_text(), self.log.read_text()[-5000:]

    def results(self) -> dict[str, Any]:
        """Wait until the job has succeeded; returns its results.json."""
        assert self.process.wait(timeout=TIMEOUT_SECONDS) == 0, self.log.read_text()[-5000:]
        results: dict[str, Any] = json.loads((self.out / "results.json").read_text())
        return results

    def weights(self) -> dict[str, Any]:
        """Every tensor of every file that the job has trained."""
        files = sorted((self.out / "stages").glob("*.safetensors"))
        return {f"{path.name} {k}": v for path in files for k, v in load_file(path).items()}


class Cluster:
    """A Ray cluster with token authentication on the hosts of a network, and a host outside it."""

    def __init__(self, network: Network, data: Path, settings: list[str]) -> None:
        self.network, self.data, self.settings = network, data, [*settings, *SETTINGS]
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_"))}
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        # Each host has its own /tmp/ray, and therefore its own image cache.
        self.env = keep | token | HEALTH | {"TSME_CACHE": "/tmp/ray/tsme"}
        self.outside, self.head = network.add("outside"), network.add("head")
        self.web = f"http://{self.head.address}:8265"
        self.no_token = keep | {"RAY_AUTH_MODE": "disabled", "RAY_API_SERVER_ADDRESS": self.web}
        self.client = keep | token | {"RAY_API_SERVER_ADDRESS": self.web}
        self._start(self.head, "--head", f"--dashboard-host={self.head.address}")

    def join(self) -> Host:
        """Add a host to the cluster."""
        host = self.network.add(f"node{len(self.network.hosts)}")
        self._start(host, f"--address={self.head.address}:6379")
        return host

    def set_size(self, count: int) -> None:
        """Add hosts until `count` nodes are alive, with the head; for 1, kill all hosts but the head."""
        if count == 1:
            for host in self.network.hosts.values():
                if host not in (self.head, self.outside):
                    host.kill()
            until(lambda: len(self.alive()) == 1)
        for _ in range(count - len(self.alive())):
            self.join()
        until(lambda: len(self.alive()) == count)

    def alive(self) -> dict[str, Host]:
        """Hosts whose nodes live, by node id."""
        hosts = {host.address: host for host in self.network.hosts.values()}
        rows = self._list("nodes")
        return {row["node_id"]: hosts[row["node_ip"]] for row in rows if row["state"] == "ALIVE"}

    def submit(self, name: str, *options: str) -> Job:
        """Submit `tsme run` from outside."""
        out = self.network.folder / name
        log = self.network.folder / f"{name}.log"
        run = [sys.executable, "-m", "workflows", "run", "--preset", "demo", "--data", str(self.data)]
        run += ["--out", str(out), *options, *[w for s in self.settings for w in ("--set", s)]]
        submit = [RAY, "job", "submit", "--submission-id", name, "--working-dir", str(ROOT), "--", *run]
        with log.open("w") as stream:
            return Job(name, self.outside.start(submit, self.client, stream), log, out)

    def places(self, job: Job, name: str, kind: str = "actors") -> set[str]:
        """Ids of the nodes where a job's actors of a class, or tasks of a function, are or were."""
        number = self._get(f"/api/jobs/{job.name}")["job_id"]
        named = "class_name" if kind == "actors" else "name"
        rows = [row for row in self._list(kind) if row["job_id"] == number and row[named] == name]
        return {row["node_id"] for row in rows if row["node_id"]}  # not yet placed: None

    def _start(self, host: Host, *options: str) -> None:
        with (self.network.folder / f"{host.name}.log").open("w") as log:
            address = f"--node-ip-address={host.address}"
            host.start([RAY, "start", *options, address, *NODE], self.env, log)

    def _list(self, kind: str) -> list[dict[str, Any]]:
        listed = self._get(f"/api/v0/{kind}?limit=1000&detail=0")
        return listed["data"]["result"]["result"] if listed else []

    def _get(self, path: str) -> Any:
        """The response of the head's dashboard; None if it does not answer."""
        fetch = [sys.executable, "-S", "-c", FETCH, self.web + path]
        status, output = self.outside.run(fetch, self.client)
        return None if status else json.loads(output)


@pytest.fixture(scope="module")
def ray_hosts(tmp_path_factory: pytest.TempPathFactory, tiny_settings: list[str]) -> Iterator[Cluster]:
    from tests.support.synthetic_regdb import generate_regdb

    if reason := why_impossible():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("hosts")
    generate_regdb(folder / "regdb", identities=16, images=4, trials=10, seed=3)
    with Network(folder) as network:
        cluster = Cluster(network, folder / "regdb", tiny_settings)
        until(cluster.alive)
        yield cluster


@pytest.fixture(scope="module")
def undisturbed(ray_hosts: Cluster) -> Job:
    """A run of ten trials without any failure."""
    ray_hosts.set_size(3)
    job = ray_hosts.submit("undisturbed")
    assert len(job.results()["trials"]) == 20
    return job


def assert_same(job: Job, other: Job) -> None:
    """Assert that the figures and weights of two jobs are equal."""
    assert job.results()["trials"] == other.results()["trials"]
    weights, others = job.weights(), other.weights()
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        assert value.equal(others[name]), name


def test_a_client_without_the_token_is_refused(ray_hosts: Cluster):
    for env in (ray_hosts.no_token, ray_hosts.client | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}):
        status, output = ray_hosts.outside.run([RAY, "job", "submit", "--", "true"], env)
        assert status != 0
        assert "auth" in output.lower(), output


def test_a_job_trains_on_two_nodes_and_evaluates_on_all(ray_hosts: Cluster, undisturbed: Job):
    assert len(ray_hosts.places(undisturbed, "RayTrainWorker")) == 2
    assert len(ray_hosts.places(undisturbed, "_embed", "tasks")) == 3


@pytest.mark.parametrize("fail", [Host.kill, Host.cut], ids=["killed", "disconnected"])
def test_a_node_lost_in_training_changes_no_figure(
    ray_hosts: Cluster, undisturbed: Job, fail: Callable[[Host], None], request
):
    ray_hosts.set_size(3)
    job = ray_hosts.submit(request.node.callspec.id.replace(" ", "-"))
    job.wait_for_output("trial 03 reid")
    nodes = ray_hosts.alive()
    training = [nodes[id] for id in ray_hosts.places(job, "RayTrainWorker")]
    lost = next(host for host in training if host is not ray_hosts.head)
    fail(lost)
    job.wait_for_output("resuming from its checkpoint")
    assert_same(job, undisturbed)
    assert lost not in ray_hosts.alive().values()
    lost.kill()


def test_a_node_lost_in_evaluation_changes_no_figure(ray_hosts: Cluster, undisturbed: Job):
    ray_hosts.set_size(3)
    out = ray_hosts.network.folder / "evaluated"
    shutil.copytree(undisturbed.out, out)
    for file in (out / "stages").glob("evaluation-*.json"):
        file.unlink()
    job = ray_hosts.submit("evaluated", "--resume")
    job.wait_for_output("evaluate")
    head = {id for id, host in ray_hosts.alive().items() if host is ray_hosts.head}
    others = until(lambda: ray_hosts.places(job, "_embed", "tasks") - head)
    ray_hosts.alive()[others.pop()].kill()
    assert_same(job, undisturbed)


def test_a_job_waits_for_a_node_that_joins_late(ray_hosts: Cluster, undisturbed: Job):
    ray_hosts.set_size(1)
    job = ray_hosts.submit("early", "--trials", "1")
    job.wait_for_output("takes 2 CPU (2 workers of 1), the cluster has 1")
    assert "waiting for nodes, up to 15 min" in job.log.read_text()
    ray_hosts.join()
    job.wait_for_output("nodes are available after")
    job.wait_for_output("trial 01 dsgan")
    assert len(ray_hosts.places(job, "RayTrainWorker")) == 2
    rows = [row for row in undisturbed.results()["trials"] if row["trial"] == 1]
    assert job.results()["trials"] == rows
