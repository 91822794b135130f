"""A real MLflow server with authentication, PostgreSQL, a proxy that loses answers, and commands."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from mlflow.tracking import MlflowClient

POSTGRES = Path("/usr/lib/postgresql")
USER = "admin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(done: Callable[[], Any], what: str, seconds: float = 120) -> None:
    """Wait until `done()` is true."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.2)


class Server:
    """`mlflow server` with basic authentication, which serves artifacts from a folder of its own."""

    def __init__(self, folder: Path, store: str, store_secrets: dict[str, str]) -> None:
        self.folder, self.store = folder, store
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.password = secrets.token_hex(16)
        settings = {
            "default_permission": "READ",
            "database_uri": store,
            "admin_username": USER,
            "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
            # Without the cache, checking the password takes a tenth of a second per request.
            "auth_cache_ttl_seconds": "60",
        }
        lines = ["[mlflow]", *(f"{key} = {value}" for key, value in settings.items())]
        (folder / "auth.ini").write_text("\n".join(lines) + "\n")
        own = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_TRACKING_")}
        self.env = own | store_secrets | {
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def login(self) -> dict[str, str]:
        """The environment variables with which a client logs in."""
        return {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": self.password}

    @property
    def artifacts(self) -> Path:
        """Where the server keeps artifacts; clients do not know it."""
        return self.folder / "artifacts"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={self.port}"]
        command += ["--workers=1", f"--backend-store-uri={self.store}", "--serve-artifacts"]
        command += [f"--artifacts-destination={self.artifacts}", "--app-name=basic-auth"]
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(self._answers, "the MLflow server")

    def _answers(self) -> bool:
        assert self.process and self.process.poll() is None, (self.folder / "server.log").read_text()
        try:
            return urlopen(f"{self.uri}/health", timeout=5).status == 200
        except OSError:
            return False

    def stop(self) -> None:
        """Kill the server and its worker."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def postgres() -> Iterator[tuple[str, dict[str, str]]]:
    """Run PostgreSQL on a free port; yields the store's address and the variable of its password."""
    found = sorted(POSTGRES.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    assert found, "the tests of the tracking server need PostgreSQL: apt-get install postgresql"
    binaries, password, port = found[-1].parent, secrets.token_hex(16), free_port()
    # PostgreSQL does not run as root, and its user cannot read every folder.
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="tsme-postgres-", dir="/tmp"))
    (folder / "password").write_text(password)
    if user:
        shutil.chown(folder, "postgres")
        shutil.chown(folder / "password", "postgres")
    options: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL} | user
    words = [
        "--auth=scram-sha-256",
        "--username=mlflow",
        "--pwfile=password",
        "--pgdata=data",
        "--no-sync",
    ]
    subprocess.run([binaries / "initdb", *words], check=True, **options)
    words = ["-D", "data", "-h", "127.0.0.1", "-p", str(port), "-k", str(folder)]
    log = (folder / "log").open("wb")
    server = subprocess.Popen([binaries / "postgres", *words], stderr=log, **options)
    try:
        env = os.environ | {"PGPASSWORD": password}
        create = [
            binaries / "createdb",
            "--host=127.0.0.1",
            f"--port={port}",
            "--username=mlflow",
            "mlflow",
        ]
        wait_for(
            lambda: subprocess.run(create, env=env, capture_output=True).returncode == 0, "PostgreSQL"
        )
        yield f"postgresql+psycopg://mlflow@127.0.0.1:{port}/mlflow", {"PGPASSWORD": password}
    finally:
        server.send_signal(signal.SIGINT)  # stop at once, although clients are connected
        server.wait(timeout=60)
        shutil.rmtree(folder)


@contextmanager
def losing_answers(port: int) -> Iterator[tuple[str, list[str]]]:
    """A proxy for `port` that loses the first answer to every request.

    Yields its address and a list of the requests whose answers were lost.
    """
    seen: set[str] = set()
    lost: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            target = http.client.HTTPConnection("127.0.0.1", port)
            target.request(self.command, self.path, body, dict(self.headers))
            answer = target.getresponse()
            content = answer.read()
            self.close_connection = True
            request = f"{self.command} {self.path} {hashlib.sha256(body).hexdigest()}"
            if request not in seen:
                seen.add(request)
                lost.append(f"{self.command} {self.path}")
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

        def log_message(self, *_: Any) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}", lost
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


class Command:
    """`tsme run` on the tiny data set, in its own working folder and process."""

    def __init__(self, folder: Path, data: Path, settings: list[str], env: dict[str, str]) -> None:
        self.folder, self.out, self.env = folder, folder / "out", env
        changes = [word for setting in settings for word in ("--set", setting)]
        self.arguments = ["run", "--preset", "demo", "--data", str(data), "--out", "out", "--sweep", "2"]
        self.arguments += changes

    def start(self, *more: str, **env: str) -> subprocess.Popen[str]:
        """Start the run, with `more` arguments and environment variables."""
        return self.tsme(*self.arguments, *more, **env)

    def tsme(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "workflows", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=os.environ | self.env | env, **pipes)

    @property
    def results(self) -> dict[str, Any]:
        return json.loads((self.out / "results.json").read_text())


def output_of(process: subprocess.Popen[str]) -> str:
    """The output of a process, which must succeed."""
    output, errors = process.communicate(timeout=900)
    assert process.returncode == 0, output + errors
    return output + errors


def run_of(client: MlflowClient, command: Command) -> dict[str, Any]:
    """The MLflow runs of a command, by name; fails if two have the same name."""
    parent = client.get_run(json.loads((command.out / "run.json").read_text())["mlflow_run"])
    of_parent = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    found = [parent, *client.search_runs([parent.info.experiment_id], of_parent)]
    runs = {run.info.run_name: run for run in found}
    assert len(runs) == len(found)
    return runs


def steps(client: MlflowClient, command: Command, name: str) -> int:
    """How many epochs the run of this name has logged."""
    if not (command.out / "run.json").exists():
        return 0
    run = run_of(client, command).get(name)
    return len(client.get_metric_history(run.info.run_id, "loss/total")) if run else 0


def records(client: MlflowClient, command: Command) -> dict[str, Any]:
    """What MLflow stores of a command, by run name; without the durations of epochs."""
    kept = {}
    for name, run in run_of(client, command).items():
        metrics = {
            metric: sorted(
                (point.step, 0 if metric == "epoch_seconds" else point.value)
                for point in client.get_metric_history(run.info.run_id, metric)
            )
            for metric in run.data.metrics
        }
        files = [file.path for place in (None, "translations")
                 for file in client.list_artifacts(run.info.run_id, place)]  # fmt: skip
        kept[name] = {"status": run.info.status, "params": run.data.params}
        kept[name] |= {"metrics": metrics, "files": files}
    return kept
