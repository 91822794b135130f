"""A killed driver and a damaged file: `--resume` repeats what was lost, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

TIMEOUT_SECONDS = 400.0  # on a busy machine


def command(data: Path, settings: list[str]) -> list[str]:
    arguments = [sys.executable, "-m", "workflows", "run", "--preset", "demo", "--data", str(data)]
    arguments += ["--sweep", "3", "--out", "out", "--resume"]
    for setting in [*settings, "reid.epochs=6", "sweep.grace_epochs=6"]:
        arguments += ["--set", setting]
    return arguments


def kill_when(reached: Callable[[], bool], arguments: list[str], folder: Path) -> None:
    """Start the command and kill its driver once `reached` is true."""
    with (folder / "killed.log").open("a") as log:
        driver = subprocess.Popen(arguments, cwd=folder, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + TIMEOUT_SECONDS
            while not reached():
                assert driver.poll() is None, (folder / "killed.log").read_text()
                assert time.monotonic() < deadline, (folder / "killed.log").read_text()
                time.sleep(0.1)
        finally:
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
    time.sleep(5)  # Ray's processes end after their driver


def children(folder: Path) -> dict[str, str]:
    """Ids of the MLflow child runs, by name; fails if two have the same name."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    parent = json.loads((folder / "out" / "run.json").read_text())["mlflow_run"]
    experiment = client.get_run(parent).info.experiment_id
    runs = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    names = {run.info.run_name: run.info.run_id for run in runs}
    assert len(names) == len(runs)
    return names


def epochs(folder: Path, name: str, metric: str = "loss/total") -> list[int]:
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    try:
        run = children(folder)[name]
    except Exception:  # it does not exist yet
        return []
    return [point.step for point in client.get_metric_history(run, metric)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The command starts its own Ray.
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path


@pytest.mark.slow
def test_killed_drivers_lose_nothing_that_was_done(folder: Path, tiny_data: Path, tiny_settings):
    arguments = command(tiny_data, tiny_settings)
    kill_when(lambda: len(epochs(folder, "sweep sample-02")) >= 1, arguments, folder)
    assert epochs(folder, "sweep sample-01") == [1, 2, 1, 2, 3, 4, 5, 6]  # stage 1, stage 2
    kill_when(lambda: len(epochs(folder, "trial 01 stage 2 reid")) >= 1, arguments, folder)
    sweep_file = folder / "out" / "sweep.json"
    swept = sweep_file.stat().st_mtime_ns
    done = {p: p.stat().st_mtime_ns for p in (folder / "out" / "stages").glob("generators-*")}
    assert len(done) >= 2

    finished = subprocess.run(arguments, cwd=folder, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    results = json.loads((folder / "out" / "results.json").read_text())
    assert len(results["trials"]) == 4
    assert sweep_file.stat().st_mtime_ns == swept, "the finished sweep ran again"
    assert {p: p.stat().st_mtime_ns for p in done} == done, "a finished stage 1 ran again"
    assert epochs(folder, "sweep sample-01") == [1, 2, 1, 2, 3, 4, 5, 6], "a sample ran again"
    chosen = results["config"]["reid"]["epochs"]
    assert chosen == 6, "the schedule is that of the configuration"
    for trial in ("trial 01", "trial 02"):
        assert epochs(folder, f"{trial} stage 1 dsgan") == [1, 2]
        logged = epochs(folder, f"{trial} stage 2 reid")
        assert sorted(set(logged)) == list(range(1, chosen + 1))
        assert len(logged) <= chosen + 1, "more than the epoch in progress was repeated"

    undisturbed = subprocess.run(
        [*arguments, "--out", "undisturbed"], cwd=folder, capture_output=True, text=True
    )
    assert undisturbed.returncode == 0, undisturbed.stderr
    expected = json.loads((folder / "undisturbed" / "results.json").read_text())
    assert expected["trials"] == results["trials"]

    (model,) = (folder / "out" / "stages").glob("trial01-*.safetensors")
    content = bytearray(model.read_bytes())
    content[-100] ^= 1
    model.write_bytes(content)
    repeated = subprocess.run(arguments, cwd=folder, capture_output=True, text=True)
    assert repeated.returncode == 0, repeated.stderr
    assert f"{model}: damaged" in repeated.stdout and "train: 1 of 2 trials" in repeated.stdout
    assert model.is_file() and model.with_name(f"{model.name}.damaged").is_file()
    again = json.loads((folder / "out" / "results.json").read_text())
    assert again["trials"] == results["trials"]
