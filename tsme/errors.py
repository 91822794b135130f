"""The two errors a command reports in one line; anything else is a bug."""


class UserError(ValueError):
    """Bad input or usage; the message names the cause and what to do about it, in one line."""


class JobFailed(RuntimeError):
    """A training or evaluation job ended without a result; the message says which and why."""


def failure(error: BaseException, what: str) -> UserError | JobFailed:
    """Convert the error of a remote process: UserError and JobFailed stay, others become JobFailed.

    `error` may hold the original as its `cause`, as Ray's errors do; `what` names the job.
    """
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, (UserError, JobFailed)):
        return type(cause)(str(cause))
    lines = str(cause).strip().splitlines() or ["no message"]
    return JobFailed(f"{what}: {type(cause).__name__}: {lines[-1]}")
