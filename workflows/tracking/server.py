"""A server that keeps records: its address, and what it means to a command that it does not answer.

MLflow's client sends a request again when no answer comes, so a server may be away for minutes (see
workflows.cluster.environment); what then still fails is one error that names the server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tsme.errors import JobFailed, UserError

# Where a person waits, or nothing depends on the answer: three attempts in about as many seconds.
SHORT_TIMEOUTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}


def redact(uri: str) -> str:
    """A store's address without user, password and options: to be printed and written."""
    parts = urlsplit(uri)
    if not parts.netloc:
        return uri
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def to_user_error(uri: str, error: Exception, seconds: float) -> UserError | JobFailed:
    """What to report of an error of MLflow's client `seconds` after it was asked."""
    where = f"MLflow at {redact(uri)}"
    lost = why_lost(error)
    if lost is not None:
        return JobFailed(f"{where}: no answer for {seconds:.0f} s ({lost}); what is done is kept, "
                         "--resume goes on once it answers")  # fmt: skip
    words = str(error).rpartition("Response body: ")[2].strip("'")
    status = error.get_http_status_code() if hasattr(error, "get_http_status_code") else 0
    if status == 401:
        return UserError(
            f"{where} does not know this user: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    return UserError(f"{where} refuses: {words}") if status == 403 else JobFailed(f"{where}: {words}")


def why_lost(error: Exception) -> str | None:
    """Why no answer came, in a few words of the HTTP library's; None if an answer came."""
    cause = error.__context__
    if not (isinstance(cause, OSError) and hasattr(cause, "response")):  # as all errors of requests are
        return None
    inner = cause.args[0] if cause.args else cause
    return str(getattr(inner, "reason", inner)).rpartition(": ")[2]


@contextmanager
def short_timeouts() -> Iterator[None]:
    """No patience in the block with a server that does not answer."""
    before = {name: os.environ.get(name) for name in SHORT_TIMEOUTS}
    os.environ |= SHORT_TIMEOUTS
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
