"""The only file that uses parts of Ray Tune outside its public interface.

tests/integration/test_ray_internals.py fails if one of them moves or changes.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import ray.tune
from ray.tune.execution import class_cache

from tsme.errors import JobFailed

SECRETS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"}


def keep_secrets_from_samples() -> None:
    """Do not copy the credentials of an object store into the samples' runtime environment.

    Ray writes a runtime environment into its logs and shows it on its dashboard. Nodes have credentials
    of their own. Ray Tune has no option for this.
    """
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(SECRETS)


def hide_tracebacks_of_samples() -> None:
    """Do not print the traceback of a failed sample: it is in the sample's folder."""
    logging.getLogger("ray.tune.execution.tune_controller").setLevel(logging.CRITICAL)


def restored_scheduler(tuner: ray.tune.Tuner) -> Any:
    """The scheduler that a restored tuner will use; `Tuner.restore` accepts no other."""
    return tuner._local_tuner._tune_config.scheduler


def sample_number(trial: Any) -> int:
    """The position of a Ray Tune trial in its sweep, from 1, also after `Tuner.restore`.

    The experiment tag starts with it ("3_reid.optimizer.lr=0.02"). A counter of our own would start again
    after a restore.
    """
    return int(trial.experiment_tag.split("_")[0])


def sample_job_failed(trial: Any) -> JobFailed | None:
    """The JobFailed that ended a trial's last attempt, if one did.

    Ray Tune appends the traceback of each attempt to a text file in the sample's folder; its last line
    names the exception and its message.
    """
    try:
        lines = Path(trial.error_file).read_text().rstrip().splitlines()
    except (OSError, TypeError):  # TypeError: no attempt has failed
        return None
    exception, _, message = lines[-1].partition(": ")
    return JobFailed(message) if exception == f"tsme.errors.{JobFailed.__name__}" else None


def callback_error(error: BaseException | None) -> JobFailed | None:
    """The JobFailed raised by a callback, which ended the sweep with a TuneError.

    Ray Tune raises its TuneError while it handles the callback's exception, and puts only the text of the
    traceback into it.
    """
    while error is not None and not isinstance(error, JobFailed):
        error = error.__context__
    return error
