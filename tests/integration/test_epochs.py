"""The loop for the epochs of training, samples and pretraining: what it logs, saves and reports."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tsme.training.loop import EpochResult
from workflows.steps.epochs import STATE, Checkpoints, EpochLog, load_checkpoint, run_and_report
from workflows.steps.sample import with_best


def result(stage: str, epoch: int, score: float = 0.0) -> EpochResult:
    state = {"stage": stage, "epoch": epoch, "task": {"weight": torch.tensor(float(epoch))}}
    metrics = {"val_mAP": score}
    return EpochResult(stage, epoch, 2, {"total": 1.0}, metrics, seconds=0.1, checkpoint=state)


class Recorder:
    """Notes what happens to every epoch, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, int]] = []
        self.states: list[dict] = []

    def log(self, run: str, epoch: EpochResult) -> None:
        self.events.append(("log", run, epoch.epoch))

    def report(self, epoch: EpochResult, checkpoint: object) -> None:
        self.events.append(("report", epoch.stage, epoch.epoch))
        if checkpoint is not None:
            self.states.append(load_checkpoint(checkpoint, pytest.fail))
            shutil.rmtree(checkpoint.path)

    def wait(self) -> None:
        self.events.append(("wait", "", 0))

    def as_log(self) -> EpochLog:
        runs = {
            stage: SimpleNamespace(log_epoch=lambda epoch, stage=stage: self.log(stage, epoch))
            for stage in ("dsgan", "reid")
        }
        post = SimpleNamespace(remote=lambda event: None)
        return EpochLog("trial 01", runs, SimpleNamespace(post=post))


RESULTS = [result("dsgan", 1), result("reid", 1, 0.2), result("reid", 2, 0.1)]


def test_every_epoch_is_logged_then_reported_with_its_state(tmp_path: Path):
    recorder = Recorder()
    checkpoints = Checkpoints(tmp_path, ["dsgan", "reid"], recorder.wait)
    run_and_report(RESULTS, recorder.as_log(), recorder.report, checkpoints)
    expected = [
        event
        for each in RESULTS
        for event in (
            ("wait", "", 0),
            ("log", each.stage, each.epoch),
            ("report", each.stage, each.epoch),
        )
    ]
    assert recorder.events == expected, "an upload is waited for before the next epoch is logged"
    assert recorder.states == [each.checkpoint for each in RESULTS]
    assert list(tmp_path.iterdir()) == []


def test_only_the_stages_asked_for_are_saved(tmp_path: Path):
    recorder = Recorder()
    run_and_report(RESULTS, recorder.as_log(), recorder.report, Checkpoints(tmp_path, ["reid"]))
    assert [state["stage"] for state in recorder.states] == ["reid", "reid"]


def test_other_workers_only_report():
    recorder = Recorder()
    run_and_report(RESULTS, None, recorder.report)
    assert {name for name, *_ in recorder.events} == {"report"} and not recorder.states


@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "missing"])
def test_a_damaged_checkpoint_is_named_and_left_unused(tmp_path: Path, damage: str):
    checkpoint = Checkpoints(tmp_path, ["reid"]).write(RESULTS[1])
    file = Path(checkpoint.path) / STATE
    content = bytearray(file.read_bytes())
    match damage:
        case "flipped bit":
            content[len(content) // 2] ^= 4
            file.write_bytes(content)
        case "truncated":
            file.write_bytes(content[:-10])
        case "missing":
            file.unlink()
    messages: list[str] = []
    assert load_checkpoint(checkpoint, messages.append) is None
    assert messages == [f"{checkpoint.path}: damaged checkpoint, left unused; its stage starts again"]


def test_the_best_epoch_so_far_is_in_metrics_and_checkpoints():
    first, second, third = with_best(iter(RESULTS), {"best_mAP": 0.0, "best_epoch": 0})
    assert first is RESULTS[0], "stage 1 has no validation"
    best = {"best_mAP": 0.2, "best_epoch": 1}
    for each in (second, third):
        assert each.metrics.items() >= best.items()
        assert each.checkpoint["best"] == best
    (resumed,) = with_best(iter([result("reid", 2, 0.2)]), best)
    assert resumed.checkpoint["best"] == best, "of equal epochs, the first"
