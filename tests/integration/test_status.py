"""status.json and `tsme status`: what they say while a run trains, and after each way to end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tsme.errors import UserError
from tsme.storage.atomic import write_json
from workflows.cli.report import resume_command, status_lines
from workflows.progress import Event
from workflows.status import StatusFile, StepStatus, TrainingStatus, read_status

COMMAND = "tsme run --preset demo --data 'my data' --out out"


def training(folder: Path) -> StatusFile:
    """The status of a run that trains: trial 01 is done, trial 02 in stage 2."""
    status = StatusFile(folder, COMMAND, "/logs/run.log")
    status.begin("train: 3 of 3 trials, 2 at a time", 3, 2, {"dsgan": 3, "reid": 12})
    for label, epochs in (("trial 01", 4), ("trial 02", 1)):
        status.record(Event(label, "dsgan", 1, 1, "loss 2.0", 10.0))
        for epoch in range(1, epochs + 1):
            status.record(Event(label, "reid", epoch, 4, "loss 1.0", 6.0))
    return status


def lines(folder: Path, later: float = 0.0) -> str:
    return "\n".join(status_lines(folder, read_status(folder), time.time() + later))


def test_a_run_in_training_says_how_far_it_is(tmp_path: Path):
    write_json(tmp_path / "timeline.json", [{"step": "start", "seconds": 65.0}])
    write_json(tmp_path / "run.json", {"mlflow_run": "c0ffee", "mlflow_uri": "sqlite:///m.db"})
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "weights").write_bytes(bytes(3_000_000))
    with training(tmp_path):
        text = lines(tmp_path)
    assert "running (process" in text and "done   start  (1 min 05 s)" in text
    assert "train: 3 of 3 trials, 2 at a time" in text and "1 of 3 done" in text
    assert "trial 02 reid: epoch 1 of 4, 6.0 s an epoch, loss 1.0" in text
    assert "trial 01" not in text
    # One epoch of 10 s and seven of 6 s, two at a time.
    assert "about 26.0 s left" in text
    assert "disk: 3 MB (stages 3 MB" in text
    assert "MLflow: run c0ffee in sqlite:///m.db" in text and "log: /logs/run.log" in text


def test_time_left_is_unknown_before_an_epoch_of_each_stage():
    step = StepStatus("train", 0.0, epochs={"dsgan": 2, "reid": 4})
    assert step.seconds_left() is None
    step.trainings.append(TrainingStatus("trial 01", "dsgan", 1, 1, seconds=5.0, timed=1))
    assert step.seconds_left() is None
    step.trainings.append(TrainingStatus("trial 01", "reid", 3, 4, seconds=4.0, timed=2))
    assert step.seconds_left() == 1 * 5 + 1 * 2  # resumed after epoch 1: two epochs were timed


def test_an_interrupted_run_names_the_command_that_continues_it(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), training(tmp_path):
        raise KeyboardInterrupt
    text = lines(tmp_path, later=3600)
    assert f"{tmp_path}: interrupted, " in text and "h 00 min" not in text  # its clock has stopped
    assert f"continue with: {COMMAND} --resume" in text


def test_a_failed_run_says_why(tmp_path: Path):
    with pytest.raises(UserError), training(tmp_path):
        raise UserError("the disk is full")
    assert "failed" in lines(tmp_path) and "error: the disk is full" in lines(tmp_path)


def test_a_finished_run_names_its_results(tmp_path: Path):
    (tmp_path / "results.json").write_text("{}")
    with training(tmp_path):
        pass
    text = lines(tmp_path)
    assert "finished" in text and f"results: {tmp_path / 'results.json'}" in text
    assert "continue" not in text and "report.html" not in text


def test_a_killed_run_is_recognised(tmp_path: Path):
    program = f"""
import os, pathlib
from workflows.status import StatusFile
StatusFile(pathlib.Path({str(tmp_path)!r}), {COMMAND!r}, "").__enter__()
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    assert "stopped without a word" in lines(tmp_path) and "--resume" in lines(tmp_path)


def test_a_driver_on_another_host_is_missed_after_minutes_of_silence(tmp_path: Path):
    status = training(tmp_path)
    status.status.host = "elsewhere"
    with status:
        assert "running (process" in lines(tmp_path)
        assert "stopped without a word" in lines(tmp_path, later=600)


def test_a_status_that_cannot_be_written_ends_no_run(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with training(tmp_path / "file"):
        pass
    with pytest.raises(UserError, match="no run has written"):
        read_status(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["run", "--data", "a b"], "tsme run --data 'a b' --resume"),
        (["run", "--data", "a", "--resume"], "tsme run --data a --resume"),
        (["demo", "--out", "x"], "tsme demo --out x"),
        (["data", "check"], ""),
        ([], ""),
    ],
)
def test_the_command_that_continues(arguments: list[str], command: str):
    assert resume_command(arguments) == command
