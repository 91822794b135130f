"""`ray job submit --working-dir .` against a Ray head does what `tsme run` does."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def head(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Ray head with token authentication; yields the environment a client needs."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    dashboard = free_port()
    env = keep | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    # In the foreground (--block), so that ending the process ends this head and no other. The agent's
    # port is chosen too: if another Ray on this machine holds the default one, no job is accepted.
    head = subprocess.Popen(
        [RAY, "start", "--head", "--block", "--num-cpus=2", f"--port={free_port()}",
         f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={free_port()}",
         "--disable-usage-stats"],
        env=env, stdout=(tmp_path / "head.log").open("w"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    yield env | {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}"}
    head.terminate()
    head.wait(timeout=60)


@pytest.mark.slow
def test_a_submitted_job_is_a_run(head, tiny_data: Path, tiny_settings, tmp_path: Path):
    run = [sys.executable, "-m", "workflows", "run", "--preset", "demo", "--data", str(tiny_data)]
    run += ["--out", str(tmp_path / "out"), *[w for s in tiny_settings for w in ("--set", s)]]
    submit = [RAY, "job", "submit", "--working-dir", str(ROOT), "--", *run]
    for _ in range(30):  # until the dashboard answers
        listed = subprocess.run([RAY, "job", "list"], env=head, capture_output=True, text=True)
        if listed.returncode == 0:
            break
    assert listed.returncode == 0, listed.stderr
    done = subprocess.run(submit, env=head, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(results["trials"]) == 4
    # The job's working folder is deleted with the job, so MLflow's store is beside the results.
    assert (tmp_path / "out" / "mlflow.db").exists()
    lost = subprocess.run([*submit, "--out", "results"], env=head, capture_output=True, text=True)
    assert lost.returncode == 1
    assert "--out results: a submitted job" in lost.stdout + lost.stderr
