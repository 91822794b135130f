"""Orchestration: where the method, the search, Ray and MLflow meet."""

import time

BEGAN = time.monotonic()  # of the command: what is imported after this is a part of its time
