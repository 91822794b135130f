"""Real Ray and real MLflow for the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.object_store import environment, free_port

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from tests.support.mlflow_servers import Server


@pytest.fixture(scope="session")
def s3_port() -> int:
    """Where S3 is while a test serves it: this process and its Ray's workers look for it there."""
    port = free_port()
    os.environ |= environment(port)
    return port


@pytest.fixture(scope="session")
def ray_here(s3_port: int) -> Iterator[None]:
    """One local Ray of two CPUs for all tests that run in this process."""
    import ray

    from workflows.cluster.session import WORKER_DEFAULTS

    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=True,
        log_to_driver=False,
        runtime_env={"env_vars": WORKER_DEFAULTS},
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store without runs, to copy: creating one takes seconds."""
    from workflows.tracking.server import connect

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    with connect(f"sqlite:///{file}"):
        return file


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder: MLflow's store goes there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def login(monkeypatch: pytest.MonkeyPatch) -> Callable[[Server], MlflowClient]:
    """login(server): sets this process's user and password for the server; returns a client."""

    def enter(server: Server) -> MlflowClient:
        from mlflow.tracking import MlflowClient

        for name, value in server.login.items():
            monkeypatch.setenv(name, value)
        return MlflowClient(server.uri)

    return enter
