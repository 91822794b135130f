"""Histories of child runs, from a real store."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tsme.presets import demo
from tsme.training.loop import EpochResult
from workflows.tracking.history import child_histories
from workflows.tracking.runs import MlflowRun, open_parent_run


@pytest.fixture
def parent(empty_store: Path, tmp_path: Path) -> MlflowRun:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return open_parent_run(f"sqlite:///{tmp_path / 'mlflow.db'}", demo(), "test", tmp_path, "f", None)


def result(epoch: int, loss: float, **metrics: float) -> EpochResult:
    return EpochResult("reid", epoch, 2, {"total": loss}, metrics, seconds=5.0)


def test_a_training_has_its_losses_times_and_place(parent: MlflowRun):
    run = parent.child("trial 01 stage 2 reid", "a", {})
    run.tag({"host": "host-a", "device": "CPU"})
    before = time.time()
    for epoch, loss in ((1, 3.0), (2, 2.0)):
        run.log_epoch(result(epoch, loss, lr=0.1))
    (entry,) = child_histories(parent)
    assert entry["name"] == "trial 01 stage 2 reid" and entry["place"] == "host-a, CPU"
    assert entry["curves"] == {"loss/total": {"epochs": [1, 2], "values": [3.0, 2.0]}}
    assert before - 5 <= entry["began"] + 0.001 and before <= entry["ended"] + 0.001 <= time.time() + 1


def test_of_a_repeated_epoch_the_last_value_counts(parent: MlflowRun):
    run = parent.child("trial 01 stage 1 dsgan", "a", {})
    for epoch, loss in ((1, 3.0), (2, 2.5), (2, 2.0)):
        run.log_epoch(result(epoch, loss))
        time.sleep(0.002)  # times of a store are whole milliseconds
    (entry,) = child_histories(parent)
    assert entry["curves"]["loss/total"] == {"epochs": [1, 2], "values": [3.0, 2.0]}


def test_samples_have_their_validation_and_evaluations_no_entry(parent: MlflowRun):
    parent.child("sweep sample-01", "a", {}).log_epoch(result(1, 3.0, val_mAP=0.25))
    parent.child("trial 01 stage 3 evaluation", "b", {}).log_metrics({"rank1": 0.5})
    (entry,) = child_histories(parent)
    assert entry["name"] == "sweep sample-01"
    assert entry["curves"] == {"val_mAP": {"epochs": [1], "values": [0.25]}}
