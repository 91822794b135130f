"""Environment variables that Ray and MLflow read; Ray when it is imported, so: to be set before that."""

from __future__ import annotations

import json
import os
import secrets
from urllib.parse import unquote, urlsplit

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray's name for what it tells a submitted job's driver
MLFLOW = {
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A request is sent again after 0, 2, 4, ... 64, 120, 120 and 120 s: a server may be away for eight
    # minutes. (Its own 7 retries from 4 s on give up after four, and look less often.)
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
DEFAULTS = {
    # Tune's own tables; our display shows the same.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # Tune would end the sweep and let the workflow go on with what there is.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def in_submitted_job() -> bool:
    """Whether this is the driver of `ray job submit`, whose working folder goes with the job."""
    return JOB in os.environ


def job_environment() -> dict[str, str]:
    """The variables that a submitted job's runtime environment sets."""
    settings = json.loads(os.environ.get(JOB, "{}")).get("runtime_env") or {}
    return dict(settings.get("env_vars") or {})


def prepare() -> None:
    """Fill in what the user has not set.

    A Ray started here is for this process alone, so it gets a token nobody else knows; a job submitted
    to a cluster (RAY_ADDRESS) uses that cluster's.
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    prepare_mlflow()
    if "RAY_ADDRESS" not in os.environ and "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def prepare_mlflow() -> None:
    """The part of it for MLflow's client, which workers do too: theirs is the environment of their node.

    A user and password in MLFLOW_TRACKING_URI move to variables of their own, lest they be printed or
    written with the address.
    """
    for name, value in MLFLOW.items():
        os.environ.setdefault(name, value)
    uri = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if uri.scheme in ("http", "https") and "@" in uri.netloc:
        os.environ["MLFLOW_TRACKING_URI"] = uri._replace(netloc=uri.netloc.rpartition("@")[2]).geturl()
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(uri.username or "")
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(uri.password or "")
