"""The two ways in which a command fails by something else than a bug."""


class UserError(ValueError):
    """Bad input or usage: one line naming the thing and what to do about it."""


class JobFailed(RuntimeError):
    """A training or evaluation job ended without a result; says which, and why."""


def failure(error: BaseException, what: str) -> UserError | JobFailed:
    """What to report of a remote process's error: ours as they were raised, else a JobFailed.

    `error` may wrap the original as its `cause`, as Ray's errors do; `what` names the job.
    """
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, (UserError, JobFailed)):
        return type(cause)(str(cause))
    words = str(cause).strip().splitlines() or ["no message"]
    return JobFailed(f"{what}: {type(cause).__name__}: {words[-1]}")
