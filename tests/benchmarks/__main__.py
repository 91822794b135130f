"""`python -m tests.benchmarks [PART ...]`: measure this code against the plain published way."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """One thread for everything."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    # Only now: NumPy's and torch's libraries read these once, as they are imported.
    from tests.benchmarks.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
