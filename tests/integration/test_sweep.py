"""The sweep: its search space, early stopping, samples side by side, and how it continues."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray.tune
from mlflow.tracking import MlflowClient
from rich.console import Console

from tsme.config import Config
from tsme.data.datasets.regdb import read_regdb
from tsme.data.image_cache import ImageCache
from tsme.errors import JobFailed, UserError
from tsme.presets import demo
from tsme.settings import override, parse_settings
from tsme.training.trial import TrialTraining
from tune.scheduler import ResumableASHA
from tune.spaces import current_point, search_space
from tune.sweep import Sample, sweep
from workflows.cli.main import main
from workflows.progress import Display
from workflows.steps.sample import SampleJob
from workflows.steps.sweep import doubt_about
from workflows.tracking.runs import open_parent_run
from workflows.tracking.server import tracking_uri

ROOT = Path(__file__).parents[2]


def fake_sample():
    """A sample whose score depends on its learning rate alone, and grows with the epochs.

    Made inside a function, because Ray's workers cannot import this file.
    """

    def sample(values: dict) -> None:
        lr = values["reid.optimizer.lr"]
        for epoch in range(1, 9):
            time.sleep(0.05)
            score = epoch / (8 * (1 + lr))
            best = {"best_mAP": score, "best_epoch": epoch}
            ray.tune.report({"epoch": epoch, "trained": epoch, "val_mAP": score} | best)

    return sample


STAGE_1 = {"dsgan.loss.cycle", "dsgan.loss.identity"}


def with_stage_1(config: Config) -> Config:
    """The demo's preset searches stage 2 only, and has no identity loss."""
    return override(config, {"sweep.generators": True, "dsgan.loss.identity": 5.0})


def test_space_covers_what_is_documented_and_starts_at_the_preset(tiny_config):
    tiny_config = with_stage_1(tiny_config)
    space = search_space(tiny_config)
    assert set(space) == {
        "reid.optimizer.lr",
        "reid.optimizer.backbone_factor",
        "reid.loss.hetero_centre",
        "reid.loss.fused",
        "reid.loss.real",
        "reid.loss.translated",
        "dsgan.loss.cycle",
        "dsgan.loss.identity",
    }
    point = current_point(tiny_config, space)
    assert override(tiny_config, point) == tiny_config
    for key, domain in space.items():
        drawn = domain.sample()
        assert override(tiny_config, {key: drawn}) != tiny_config or drawn == point[key]


def test_parts_that_are_off_are_not_searched(tiny_config):
    tiny_config = with_stage_1(tiny_config)
    space = search_space(override(tiny_config, {"reid.loss.hetero_centre": 0, "reid.loss.real": 0}))
    assert not {"reid.loss.hetero_centre", "reid.loss.real"} & set(space)
    alone = search_space(override(tiny_config, {"reid.iai": False}))
    assert set(search_space(tiny_config)) - set(alone) == {"reid.loss.real", "reid.loss.translated"}
    plain = search_space(override(tiny_config, {"reid.iai": False, "reid.translation": "none"}))
    assert set(alone) - set(plain) == STAGE_1
    shared = search_space(override(tiny_config, {"sweep.generators": False}))
    assert set(search_space(tiny_config)) - set(shared) == STAGE_1
    wide = override(tiny_config, {"reid.loss.fused": 3.0})
    assert search_space(wide)["reid.loss.fused"].upper == 3.0


def test_a_user_error_of_all_samples_is_raised_once(ray_here, tiny_config, tmp_path: Path):
    def sample(values: dict) -> None:
        raise UserError("weights.bin: no such file")

    config = override(tiny_config, {"resources.gpus": 0})
    with pytest.raises(UserError, match=r"^weights\.bin: no such file$"):
        sweep(sample, {}, config=config, samples=1, storage=tmp_path, name="sweep")


def test_bad_samples_stop_early_and_the_best_comes_first(ray_here, tiny_config, tmp_path: Path):
    config = override(
        tiny_config,
        {"reid.epochs": 8, "sweep.grace_epochs": 2, "sweep.concurrent": 1, "resources.gpus": 0},
    )
    tried = sweep(
        fake_sample(), search_space(config), config=config, samples=5, storage=tmp_path, name="sweep"
    )
    assert len(tried) == 5
    assert [s.score for s in tried] == sorted((s.score for s in tried), reverse=True)
    assert tried[0].epochs == 8
    assert tried[0].values["reid.optimizer.lr"] == min(
        s.values["reid.optimizer.lr"] for s in tried if s.epochs == 8
    )
    assert sum(s.epochs for s in tried) < 5 * 8
    first = next(s for s in tried if s.name == "sample-01")
    assert first.values == current_point(config, search_space(config))


def test_a_sequential_sweep_repeats_to_the_digit(ray_here, tiny_config, tmp_path: Path):
    config = override(
        tiny_config,
        {"reid.epochs": 8, "sweep.grace_epochs": 2, "sweep.concurrent": 1, "resources.gpus": 0},
    )

    def run(name: str):
        space = search_space(config)
        return sweep(fake_sample(), space, config=config, samples=3, storage=tmp_path, name=name)

    assert run("once") == run("twice")


def test_samples_run_side_by_side(ray_here, tiny_config, tmp_path: Path):
    marks = tmp_path / "marks"
    marks.mkdir()

    def meet_the_other(values: dict) -> None:
        (marks / ray.tune.get_context().get_trial_name()).touch()
        deadline = time.monotonic() + 60
        while len(list(marks.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        score = len(list(marks.iterdir())) / 2
        ray.tune.report({"epoch": 1, "trained": 1, "val_mAP": score, "best_mAP": score, "best_epoch": 1})

    config = override(tiny_config, {"reid.epochs": 1, "sweep.concurrent": None, "resources.gpus": 0})
    space = search_space(config)
    samples = sweep(meet_the_other, space, config=config, samples=2, storage=tmp_path, name="side")
    assert [sample.score for sample in samples] == [1.0, 1.0]


def test_a_stopped_sweep_continues_only_with_the_same_resources(ray_here, tiny_config, tmp_path: Path):
    def run(**resources: float) -> list[Sample]:
        settings = {f"resources.{name}": value for name, value in resources.items()}
        config = override(tiny_config, {"reid.epochs": 1, "sweep.concurrent": None} | settings)
        return sweep(
            fake_sample(), search_space(config), config=config, samples=1, storage=tmp_path, name="sweep"
        )

    first = run(gpus=0)
    assert run(gpus=0) == first
    with pytest.raises(UserError, match=r"took 1 CPU, 0 GPU, now it would take 2 CPU, 0 GPU; resume"):
        run(gpus=0, cpus=2)


INTERRUPTED = """
import os, sys
from pathlib import Path

from workflows.cluster import environment

environment.prepare()
import ray
import ray.tune

from tsme.settings import override
from tsme.presets import demo
from tune.sweep import sweep

out, limit = Path(sys.argv[1]), int(sys.argv[2])


def sample(values):
    number = int(ray.tune.get_context().get_trial_name().removeprefix("sample-"))
    for epoch in range(1, 9):
        if (number, epoch) == (4, 2) and limit:
            os.kill(driver, 9)  # before the fourth sample can be compared with the others
        score = 0.9 - 0.1 * number + 0.001 * epoch
        best = {"best_mAP": score, "best_epoch": epoch}
        ray.tune.report({"epoch": epoch, "trained": epoch, "val_mAP": score} | best)


driver = os.getpid()
ray.init("local", num_cpus=2, log_to_driver=False, include_dashboard=True)
settings = {"reid.epochs": 8, "sweep.grace_epochs": 2, "sweep.reduction": 2, "resources.gpus": 0}
config = override(demo(), settings | {"sweep.concurrent": 1})
space = {"reid.optimizer.lr": ray.tune.loguniform(0.01, 0.1)}
tried = sweep(sample, space, config=config, samples=6, storage=out, name="sweep")
print(*(f"{each.name}={each.epochs}" for each in sorted(tried, key=lambda each: each.name)))
"""


@pytest.mark.slow  # starts Ray twice
def test_a_killed_sweep_stops_what_an_undisturbed_one_stops(tmp_path: Path):
    """Six samples, each worse than the one before: all but the first stop after the grace period."""

    def run(limit: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", INTERRUPTED, str(tmp_path), str(limit)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert run(1).returncode == -signal.SIGKILL
    continued = run(0)
    assert continued.returncode == 0, continued.stderr
    expected = {f"sample-{n:02d}": 8 if n == 1 else 2 for n in range(1, 7)}
    assert continued.stdout.split() == [f"{name}={epochs}" for name, epochs in expected.items()]


def test_a_replayed_scheduler_decides_as_the_one_before():
    def asha() -> ResumableASHA:
        options = {"time_attr": "epoch", "metric": "val_mAP", "mode": "max"}
        return ResumableASHA(**options, max_t=8, grace_period=2, reduction_factor=2)

    def report(scheduler: ResumableASHA, name: str, epoch: int, score: float) -> str:
        trial = SimpleNamespace(trial_id=name)
        return scheduler.on_trial_result(None, trial, {"epoch": epoch, "val_mAP": score})

    reports = [("good", epoch, 0.8) for epoch in range(1, 9)] + [("bad", 1, 0.2), ("bad", 2, 0.2)]
    before, after = asha(), asha()
    for name in ("good", "bad"):
        before.on_trial_add(None, SimpleNamespace(trial_id=name))
    decisions = [report(before, *each) for each in reports]
    assert decisions.count("STOP") == 2 and decisions[-1] == "STOP"
    after.replay({"trial_id": n, "epoch": e, "val_mAP": s} for n, e, s in reports)
    for scheduler in (before, after):
        scheduler.on_trial_add(None, SimpleNamespace(trial_id="next"))
        assert report(scheduler, "bad", 1, 0.9) == "CONTINUE", "it goes as far as before"
        assert report(scheduler, "bad", 2, 0.9) == "STOP", "as was decided before"
        assert report(scheduler, "next", 2, 0.3) == "STOP", "worse than the good one"
    empty = asha()
    empty.on_trial_add(None, SimpleNamespace(trial_id="next"))
    assert report(empty, "next", 2, 0.3) == "CONTINUE"


@pytest.mark.slow  # three attempts, each in a new process
def test_a_failed_sample_records_its_error_in_mlflow(ray_here, tiny_config, tiny_data, in_folder: Path):
    trial = read_regdb(tiny_data).trial(1)
    config = override(tiny_config, {"resources.gpus": 0, "sweep.concurrent": 1})
    images = ImageCache(read_regdb(tiny_data), "data", 8, 8)  # not the size of the configuration
    training = TrialTraining(config, 1, trial.train, trial.test, images, in_folder / "stages")
    uri = tracking_uri(in_folder)
    parent = open_parent_run(uri, config, "test", tiny_data, "data", None)
    with Display(Console(quiet=True)) as display, pytest.raises(JobFailed):
        sweep(
            SampleJob(training, parent, display.board),
            {}, config=config, samples=1, storage=in_folder, name="sweep",
        )  # fmt: skip
    (run,) = MlflowClient(uri).search_runs(
        [parent.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.run_id}'"
    )
    assert run.info.status == "FAILED" and "Error: " in run.data.tags["error"]


def test_the_command_prints_a_run_with_the_best_values(
    ray_here, tiny_settings, tiny_data, in_folder: Path, capsys
):
    asked = [*tiny_settings, "resources.gpus=0", "reid.loss.hetero_centre=0.07"]
    call = ["sweep", "--preset", "demo", "--data", str(tiny_data), "--samples", "1"]
    with pytest.raises(SystemExit) as ended:
        main([*call, *(part for setting in asked for part in ("--set", setting))])
    assert ended.value.code in (0, None)
    program, command, *words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert (program, command, *words[:4]) == ("tsme", "run", "--preset", "demo", "--data", str(tiny_data))
    assert set(words[4::2]) == {"--set"}
    (best,) = json.loads((in_folder / "runs" / "sweep-demo" / "sweep.json").read_text())
    config = override(override(demo(), parse_settings(asked)), best["values"])
    assert override(demo(), parse_settings(words[5::2])) == config


@pytest.mark.parametrize(("epoch", "doubted"), [(1, True), (3, True), (4, False), (10, False)])
def test_a_winner_of_the_first_epochs_is_doubted(tiny_config, epoch, doubted):
    config = override(tiny_config, {"reid.epochs": 10, "sweep.grace_epochs": 3})
    doubt = doubt_about(Sample("sample-07", {}, 0.1, epoch, 10), config)
    assert bool(doubt) == doubted
    if doubted:
        assert f"sample-07 was best after {epoch} of 10 epochs" in doubt


def test_a_winner_that_was_trained_in_full_is_not_doubted(tiny_config):
    config = override(tiny_config, {"reid.epochs": 3, "sweep.grace_epochs": 3})
    assert not doubt_about(Sample("sample-01", {}, 0.1, 3, 3), config)
