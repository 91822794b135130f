"""What all tests share: a generated data set, a tiny configuration, and the environment Ray needs."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import pytest

from workflows.cluster import environment

# Before anything imports Ray: its C++ side reads these once.
environment.prepare()
os.environ["OMP_NUM_THREADS"] = "1"
# Threads that wait do not spin: several processes share the cores.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
os.environ.pop("MLFLOW_TRACKING_URI", None)
# Drawn cases are the same every time, and however busy the machine is.
hypothesis.settings.register_profile("here", deadline=None, derandomize=True)
hypothesis.settings.load_profile("here")
# Decoded images of the tests' data sets, deleted when the tests end.
CACHE = TemporaryDirectory()
os.environ["TSME_CACHE"] = CACHE.name

TINY = [
    "image.height=32",
    "image.width=16",
    "image.padding=2",
    "dsgan.backbone.width=8",
    "dsgan.backbone.weights=none",
    "dsgan.discriminator_width=4",
    "dsgan.epochs=2",
    "reid.backbone.width=8",
    "reid.backbone.weights=none",
    "reid.embedding=16",
    "reid.epochs=2",
    "reid.identities=4",
    "reid.images=2",
    "reid.optimizer.milestones=[2]",
    "sweep.grace_epochs=1",
]


@pytest.fixture(scope="session")
def tiny_settings() -> list[str]:
    """`--set` values that make the demo preset train in a second."""
    return list(TINY)


@pytest.fixture(scope="session")
def tiny_config(tiny_settings: list[str]):
    from tsme.presets import demo
    from tsme.settings import override, parse_settings

    return override(demo(), parse_settings(tiny_settings))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in RegDB's layout: 16 people, 4 + 4 images each, 2 trials."""
    from tests.support.synthetic_regdb import generate_regdb

    folder = tmp_path_factory.mktemp("data") / "regdb"
    generate_regdb(folder, identities=16, images=4, trials=2, seed=3)
    return folder
