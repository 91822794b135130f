"""Environment variables that Ray reads when it is imported: to be set before that, and only here."""

from __future__ import annotations

import os
import secrets

DEFAULTS = {
    # Tune's own tables; our display shows the same.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # Tune would end the sweep and let the workflow go on with what there is.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def in_submitted_job() -> bool:
    """Whether this is the driver of `ray job submit`, whose working folder goes with the job."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def prepare() -> None:
    """Fill in what the user has not set.

    A Ray started here is for this process alone, so it gets a token nobody else knows; a job submitted
    to a cluster (RAY_ADDRESS) uses that cluster's.
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if "RAY_ADDRESS" not in os.environ and "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
