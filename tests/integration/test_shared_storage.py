"""A worker on a node that shares no disk with the driver: an error at once, or no need for one (S3).

The disks are hidden from each other by a mount namespace, which needs root.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from tests.support.object_store import contents, environment, free_port, serving, wait_for
from tsme.errors import UserError
from tsme.storage.object_store import RemotePath
from workflows.cluster.shared_storage import require_shared

ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))
HIDDEN = (
    'mount -t tmpfs none /tmp/ray && mount -t tmpfs none "$1" && hostname node-2 && shift && exec "$@"'
)
ISOLATED = ["unshare", "--mount", "--uts", "--", "sh", "-c", HIDDEN, "sh"]
Command = Callable[..., subprocess.CompletedProcess[str]]


def can_isolate() -> bool:
    try:
        done = subprocess.run(["unshare", "--mount", "--uts", "true"], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A folder of which driver and worker each see their own version."""
    Path("/tmp/ray").mkdir(exist_ok=True)  # a mount point
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@pytest.fixture
def tsme(s3_port: int, disk: Path, tmp_path: Path) -> Iterator[Command]:
    """Runs `tsme` as the driver of a cluster whose only worker has another disk."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    port = free_port()
    address = f"127.0.0.1:{port}"
    env = keep | environment(s3_port)
    env |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "TSME_CACHE": str(disk / "cache"),
        "TMPDIR": str(disk),
        "RAY_TMPDIR": "/tmp",  # paths of sockets must be short
        # Instead of a server: a file that both see.
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "GLOO_SOCKET_IFNAME": "lo",
        "PYTHONPATH": str(ROOT),
    }
    head = ["--head", f"--port={port}", f"--dashboard-port={free_port()}"]
    node = [f"--address={address}", f"--dashboard-agent-listen-port={free_port()}"]
    start = [RAY, "start", "--block", "--disable-usage-stats"]
    log = (tmp_path / "ray.log").open("w")
    nodes = [
        subprocess.Popen([*start, *head, "--num-cpus=0"], env=env, stdout=log, stderr=log),
        subprocess.Popen(
            [*ISOLATED, str(disk), *start[:-1], *node, "--num-cpus=2"], env=env, stdout=log, stderr=log
        ),
    ]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workflows", *arguments]
        driver = env | {"RAY_ADDRESS": address}
        return subprocess.run(command, env=driver, cwd=disk, capture_output=True, text=True, timeout=500)

    try:
        wait_for(port)
        yield run
    finally:
        for process in reversed(nodes):
            process.terminate()
            process.wait(timeout=60)
        log.close()


@pytest.mark.cluster
@pytest.mark.skipif(not can_isolate(), reason="needs root, for mount namespaces")
def test_driver_and_worker_share_no_disk(tsme, s3_port, disk, tmp_path, tiny_data, tiny_settings):
    settings = [word for setting in tiny_settings for word in ("--set", setting)]
    arguments = ["run", "--preset", "demo", "--trials", "1", *settings]
    with serving(s3_port, tmp_path / "s3.log") as client:
        RemotePath("s3://bucket/RegDB").upload_folder(tiny_data)
        shared = tsme(*arguments, "--data", str(tiny_data), "--out", "out")
        assert shared.returncode == 2, shared.stderr
        assert f"{disk}/out/run.json: node-2 does not see this file" in shared.stderr
        assert "--out must be a folder that all nodes share" in shared.stderr
        done = tsme(*arguments, "--data", "s3://bucket/RegDB", "--out", "s3://bucket/run")
        assert done.returncode == 0, done.stderr
        results = json.loads(contents(client, "run/")["run/results.json"])
        champion = ["--resume", "models:/tsme-regdb@champion", "--json", "s3://bucket/again.json"]
        again = tsme("test", "--dataset", "regdb", "--data", "s3://bucket/RegDB", *champion)
        assert again.returncode == 0, again.stderr
        assert json.loads(contents(client, "again")["again.json"])["trials"] == results["trials"]
    assert not list(disk.glob("out/stages"))


def test_a_single_node_is_not_checked(ray_here, tmp_path):
    require_shared({tmp_path / "nothing": "not checked"})


def test_a_file_that_another_node_does_not_see_is_named(ray_here, tmp_path, monkeypatch):
    """This node is checked as if it were another."""
    node = ray.get_runtime_context().get_node_id()
    monkeypatch.setattr(type(ray.get_runtime_context()), "get_node_id", lambda self: "another")
    assert any(other["NodeID"] == node for other in ray.nodes())
    (tmp_path / "there").touch()
    require_shared({tmp_path / "there": "fine"})
    with pytest.raises(UserError, match=r"absent: .+ does not see this file of .+; share it"):
        require_shared({tmp_path / "there": "fine", tmp_path / "absent": "share it"})
