"""The two ways in which a command fails by something else than a bug."""


class UserError(ValueError):
    """Bad input or usage: one line naming the thing and what to do about it."""


class JobFailed(RuntimeError):
    """A training or evaluation job ended without a result; says which, and why."""
