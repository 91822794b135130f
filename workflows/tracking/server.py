"""The MLflow store, a server or a SQLite file: its address, connections, errors and timeouts.

MLflow's client repeats a request that gets no answer, so a server may be down for minutes (see
workflows.cluster.environment). An error that remains becomes one message that names the store.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from filelock import FileLock
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from requests.exceptions import ChunkedEncodingError, RequestException

from tsme.errors import JobFailed, UserError
from workflows.cluster.environment import changed, in_submitted_job, prepare_mlflow

SQLITE = "sqlite:///"
ARTIFACTS = "mlartifacts"  # the folder beside a SQLite store
# Three attempts in about as many seconds, where a user is waiting or nothing depends on the answer.
SHORT_TIMEOUTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
# How long a submitted job waits for its server, which may have been started together with it.
SERVER_START_SECONDS = 240


def tracking_uri(folder: Path, previous: str | None = None) -> str:
    """The address of the store to log to: `previous`, of the run to resume, if given.

    Otherwise MLFLOW_TRACKING_URI if set, otherwise a SQLite file in `folder`, where `mlflow ui` finds it.
    Raises UserError if the SQLite file of the run to resume does not exist.
    """
    prepare_mlflow()
    configured = os.environ.get("MLFLOW_TRACKING_URI")
    if configured and configured.startswith(SQLITE):  # workers have other working folders
        configured = f"{SQLITE}{Path(configured.removeprefix(SQLITE)).resolve()}"
    if previous and configured and redact(configured) == previous:
        return configured  # with its password, which is not saved
    if previous and (file := sqlite_file(previous)) and not file.exists():
        raise UserError(
            f"{file}: the run to resume is recorded in this MLflow store, which does not exist; if the "
            f"project's folder has moved, link it to where it was: ln -s NEW {file.parent}"
        )
    return previous or configured or f"{SQLITE}{folder.resolve() / 'mlflow.db'}"


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for any other store."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def local_path(uri: str) -> Path:
    """The path that a file: URI names."""
    return Path(url2pathname(urlsplit(uri).path))


def redact(uri: str) -> str:
    """A store's address without user, password and options, to print and to save."""
    parts = urlsplit(uri)
    if not parts.netloc:
        return uri
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


@contextmanager
def connect(uri: str) -> Iterator[MlflowClient]:
    """A client of a store. Errors of MLflow in the block become a UserError or JobFailed."""
    prepare_mlflow()
    start = time.monotonic()
    try:
        _create_database(uri)
        yield MlflowClient(tracking_uri=uri)
    except (MlflowException, RequestException) as error:
        raise to_user_error(uri, error, time.monotonic() - start) from error


def _create_database(uri: str) -> None:
    """Create a SQLite store that does not exist yet.

    Under a lock: two processes that both create its tables would fail.
    """
    file = sqlite_file(uri)
    if file is None:
        return
    lock = file.with_name(f".{file.name}.lock")
    if file.exists() and not lock.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    lock.unlink(missing_ok=True)  # a process that still waits for the lock finds a complete database


def check_server(uri: str) -> None:
    """Raise UserError if the server does not answer within seconds or refuses the user.

    A submitted job waits longer. A store that is no server is not checked.
    """
    if not uri.startswith(("http://", "https://")):
        return
    deadline = time.monotonic() + (SERVER_START_SECONDS if in_submitted_job() else 0)
    while True:
        try:
            with short_timeouts():
                MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
            return
        except MlflowException as error:
            reason = why_lost(error)
            if reason is None:
                raise UserError(str(to_user_error(uri, error, 0))) from None
            if time.monotonic() > deadline or "resolve" in reason:
                raise UserError(f"MLFLOW_TRACKING_URI: no answer from {redact(uri)}: {reason}") from None
        time.sleep(2)


def to_user_error(uri: str, error: Exception, seconds: float) -> UserError | JobFailed:
    """The error to report for one of MLflow's client, `seconds` after the request."""
    store = f"MLflow at {redact(uri)}"
    lost = why_lost(error)
    if lost is not None:
        return JobFailed(
            f"{store}: no answer for {seconds:.0f} s ({lost}); finished work is kept, continue with "
            "--resume once it answers"
        )
    message = str(error).rpartition("Response body: ")[2].strip("'")
    status = error.get_http_status_code() if isinstance(error, MlflowException) else 0
    if status == 401:
        return UserError(
            f"{store} does not know this user: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if status == 403:
        return UserError(f"{store} refuses: {message}")
    if "database schema" in message:  # of another MLflow version; the message says what to do
        return UserError(f"{store}: {message}")
    return JobFailed(f"{store}: {message}")


def lost_answer(error: Exception) -> RequestException | None:
    """The HTTP library's exception if a request got no complete answer, otherwise None.

    MLflow's client raises its own exception while handling that one, and keeps no other reference.
    """
    cause = error if isinstance(error, RequestException) else error.__context__
    return cause if isinstance(cause, RequestException) and cause.response is None else None


def why_lost(error: Exception) -> str | None:
    """Why a request got no answer, in a few words; None if it got one."""
    cause = lost_answer(error)
    if cause is None:
        return None
    inner = cause.args[0] if cause.args else cause
    return str(getattr(inner, "reason", inner)).rpartition(": ")[2]


@contextmanager
def ignore_repeated() -> Iterator[None]:
    """For a request that creates or deletes by name: ignore that it has been done before."""
    try:
        yield
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
            raise


def repeat_if_cut_off(request: Callable[[], None]) -> None:
    """Make an idempotent request, a second time if the answer to the first was incomplete.

    MLflow's client repeats a request without an answer, but not one whose answer was cut off.
    """
    try:
        request()
    except MlflowException as error:
        if not isinstance(lost_answer(error), ChunkedEncodingError):
            raise
        request()


@contextmanager
def short_timeouts() -> Iterator[None]:
    """Give up within seconds, in the block, if the server does not answer."""
    with changed(SHORT_TIMEOUTS):
        yield
