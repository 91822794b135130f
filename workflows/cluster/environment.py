"""Environment variables for Ray and MLflow. Ray reads its own on import, so set them before that."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

# Ray sets this variable for the driver of a submitted job.
JOB_CONFIG_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
MLFLOW_DEFAULTS = {
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Retries after 0, 2, 4, ... 64, 120, 120 and 120 s, so a server may be down for eight minutes.
    # MLflow's default, 7 retries from 4 s on, gives up after four minutes and polls less often.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
RAY_DEFAULTS = {
    # Ray Tune's tables would repeat the progress display.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # On SIGINT, Ray Tune would end the sweep and let the workflow continue with the samples it has.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def in_submitted_job() -> bool:
    """Whether this process is the driver of `ray job submit`, whose working folder is temporary."""
    return JOB_CONFIG_VARIABLE in os.environ


def log_place() -> str:
    """Where this process prints: a file, or the command that shows a submitted job's log; else empty."""
    if in_submitted_job():
        metadata = json.loads(os.environ[JOB_CONFIG_VARIABLE]).get("metadata") or {}
        return f"ray job logs {metadata.get('job_submission_id', '')}".strip()
    try:
        return os.path.realpath("/proc/self/fd/1") if stat.S_ISREG(os.fstat(1).st_mode) else ""
    except OSError:  # standard output is closed
        return ""


def job_environment() -> dict[str, str]:
    """The variables that a submitted job's runtime environment sets."""
    job_config = json.loads(os.environ.get(JOB_CONFIG_VARIABLE, "{}"))
    return dict((job_config.get("runtime_env") or {}).get("env_vars") or {})


def prepare() -> None:
    """Set the variables that the user has not set.

    A local Ray gets a random token. A job that connects to a cluster (RAY_ADDRESS) uses the cluster's.
    """
    for name, value in RAY_DEFAULTS.items():
        os.environ.setdefault(name, value)
    prepare_mlflow()
    if "RAY_ADDRESS" not in os.environ and "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def prepare_mlflow() -> None:
    """Set the variables for MLflow's client. Workers call this too: they have their node's environment.

    Moves a user and password in MLFLOW_TRACKING_URI to variables of their own, so that the address can
    be printed and saved.
    """
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    uri = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if uri.scheme in ("http", "https") and "@" in uri.netloc:
        os.environ["MLFLOW_TRACKING_URI"] = uri._replace(netloc=uri.netloc.rpartition("@")[2]).geturl()
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(uri.username or "")
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(uri.password or "")


@contextmanager
def changed(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, for the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ |= variables
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
