"""The connection to Ray: the cluster that RAY_ADDRESS names, or a Ray started on this machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray

from tsme.errors import JobFailed, UserError
from workflows.cluster.environment import changed, job_environment

WORKER_DEFAULTS = {
    # How often Ray Train's controller polls its workers. Reports and checkpoints are processed at this
    # rate, so with the default of 2 s short epochs would wait for it.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # How long a worker group waits for resources, up to four times (MAX_FAILURES): a node that replaces a
    # lost one needs minutes to start, longer than the default of 60 s.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
    # Threads of an operation that wait for each other sleep instead of spinning. On cores that other
    # processes use too, spinning made training with two threads six times slower and more.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
}
# Whether each training run starts a process that watches for announced node preemptions.
PREEMPTION_VARIABLE = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
# Ray's sockets lie in FOLDER/ray/session_DATE_TIME_PID/sockets/; a socket's path has at most 103 bytes on
# macOS, 107 on Linux.
MAX_FOLDER_BYTES = 103 - len("/ray/session_2026-01-31_23-59-59_999999_4194304/sockets/plasma_store")


def on_shared_cluster() -> bool:
    """Whether RAY_ADDRESS names a running cluster, whose nodes may change; otherwise Ray runs here."""
    return "RAY_ADDRESS" in os.environ


@contextmanager
def cluster() -> Iterator[None]:
    """Connect to Ray for the block: to RAY_ADDRESS if set (as in a submitted job), else to a local Ray.

    Inside an existing connection this does nothing. A local Ray's workers inherit this process's
    environment, so the variables meant for them are set here and stay.

    Raises UserError if RAY_ADDRESS is wrong, or if there is no folder for a local Ray; JobFailed if a
    local Ray does not start.
    """
    if ray.is_initialized():
        yield
        return
    with nullcontext() if on_shared_cluster() else _short_folder():
        _init()
        try:
            yield
        finally:
            ray.shutdown()


def _init() -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "WARNING"}
    if not on_shared_cluster():
        # A worker that inherits its environment starts sooner than one with a runtime environment.
        os.environ |= worker_environment()
        # The dashboard is seven processes that nobody looks at, and its ports may be taken.
        logs = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"
        try:
            ray.init(address="local", include_dashboard=False, **options)
        except Exception as error:  # Ray's own type for what went wrong in its processes
            raise JobFailed(
                f"Ray did not start ({error}); the machine may be too busy, or /dev/shm or {logs} full; "
                f"Ray's messages are in {logs / 'session_latest' / 'logs'}"
            ) from error
        return
    try:
        ray.init(address="auto", runtime_env={"env_vars": worker_environment()}, **options)
    except (ValueError, ConnectionError) as error:
        address = os.environ["RAY_ADDRESS"]
        raise UserError(
            f"RAY_ADDRESS={address}: {error}; give the address of a head such as 10.0.0.1:6379, or "
            "unset it to run on this machine"
        ) from None


@contextmanager
def _short_folder() -> Iterator[None]:
    """Let Ray use a folder in /tmp, for the block, if it cannot use the one it would choose.

    Raises UserError if RAY_TMPDIR names a folder that Ray cannot use, or if /tmp is no better.
    """
    chosen, default = os.environ.get("RAY_TMPDIR"), tempfile.gettempdir()
    problem = _problem(Path(chosen or default))
    if problem is None and len(os.fsencode(default)) <= MAX_FOLDER_BYTES:
        yield
        return
    if (problem and chosen) or not os.access("/tmp", os.W_OK):
        raise UserError(f"{problem}; set RAY_TMPDIR to a short folder that you can write to")
    with (
        tempfile.TemporaryDirectory(prefix="tsme-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        # Ray's dashboard opens a socket of its own in TMPDIR.
        changed({"TMPDIR": folder, "RAY_TMPDIR": chosen or folder}),
    ):
        yield


def _problem(folder: Path) -> str | None:
    """Why Ray cannot keep its sockets and logs in a folder; None if it can."""
    if len(os.fsencode(folder)) > MAX_FOLDER_BYTES:
        return f"{folder}: Ray's sockets need a folder of at most {MAX_FOLDER_BYTES} bytes"
    used = folder / "ray" if (folder / "ray").exists() else folder
    if not os.access(used, os.W_OK | os.X_OK):
        return f"{used}: Ray cannot write there"
    return None


def worker_environment() -> dict[str, str]:
    """Environment variables to set for workers.

    Without those of a submitted job's runtime environment, which Ray does not allow to be set again.
    """
    variables = dict(WORKER_DEFAULTS)
    if not on_shared_cluster():
        variables[PREEMPTION_VARIABLE] = "0"
    if cache := os.environ.get("TSME_CACHE"):  # workers have other working folders
        variables["TSME_CACHE"] = str(Path(cache).resolve())
    return {name: value for name, value in variables.items() if name not in job_environment()}
