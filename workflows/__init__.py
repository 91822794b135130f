"""Orchestration: runs the method and the search on Ray and records them in MLflow."""

import time

STARTED = time.monotonic()  # before the slow imports, which count as part of a command's time
