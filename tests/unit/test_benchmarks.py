"""The benchmarks at their smallest: both sides do the same work, and results are written. No times."""

from __future__ import annotations

import ast
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.benchmarks import cli, measure
from tests.benchmarks.measure import Benchmark, Disagreement, Goal, Work, broadcast
from tests.benchmarks.setting import Setting

ROOT = Path(__file__).parents[2]
SETTING = Setting("small", torch.device("cpu"))
GROUPS = {"stage2", "dsgan", "extraction", "ranking", "search", "augmentation", "opening"}


def test_every_part_runs_and_writes_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "results.json"
    assert cli.run(["--size", "small", "--repeats", "1", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    report = json.loads(file.read_text())
    assert report["command"].startswith("python -m tests.benchmarks --size small")
    assert set(report["versions"]) == {"python", "torch", "numpy"}
    assert report["hardware"]["cpu"] and report["hardware"]["threads"] == 1
    assert report["date"] and report["size"] == "small" and report["repeats"] == 1
    names = [result["name"] for result in report["results"]]
    assert names == [benchmark.name for benchmark in cli.BENCHMARKS]
    assert {name.partition("/")[0] for name in names} == GROUPS
    for result in report["results"]:
        assert result["name"] in printed
        assert result["reference"] > 0 and result["ours"] > 0 and result["checked"]
        assert result["lowest"] <= result["ratio"] <= result["highest"]


def test_the_command_lists_its_parts(monkeypatch: pytest.MonkeyPatch, capsys):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # so that what the command sets is taken back
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--list"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("tests.benchmarks", run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out.split() == [benchmark.name for benchmark in cli.BENCHMARKS]


def test_the_benchmarks_need_neither_ray_nor_mlflow():
    files = sorted((ROOT / "tests" / "benchmarks").rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found = {name.partition(".")[0] for name in names}
            assert not found & {"ray", "mlflow", "tune", "workflows"}, file


def test_parts_are_chosen_by_name_or_group(capsys: pytest.CaptureFixture[str]):
    assert cli.run(["--list", "dsgan", "augmentation/24-pairs"]) == 0
    parts = ["dsgan/step-float32", "dsgan/step-bf16", "augmentation/24-pairs"]
    assert capsys.readouterr().out.split() == parts
    with pytest.raises(SystemExit):
        cli.run(["--list", "nothing"])
    assert "nothing: no such part" in capsys.readouterr().err


def test_a_failed_check_ends_the_command(monkeypatch: pytest.MonkeyPatch, capsys):
    def check() -> str:
        raise Disagreement("sums differ")

    monkeypatch.setattr(cli, "BENCHMARKS", [Benchmark("made/up", lambda _: Work(list, list, check))])
    assert cli.run([]) == 1
    assert "made/up: sums differ" in capsys.readouterr().err


@pytest.mark.parametrize("found", [np.array([1.0, np.nan]), np.array([1.0])])
def test_nan_and_other_shapes_disagree(found: np.ndarray):
    with pytest.raises(Disagreement):
        broadcast("values", found, np.array([1.0, 2.0]), 1e-3)


def test_bytes_are_a_share_and_seconds_a_speed_up(monkeypatch: pytest.MonkeyPatch):
    times = iter([9.0, 9.0, 8.0, 2.0, 4.0, 8.0])  # the first two warm up; then ours comes second, first
    monkeypatch.setattr(measure, "seconds", lambda run, device: next(times))
    work = Work(lambda: 100, lambda: 40, lambda: "checked")
    timed = Benchmark("a/time", lambda _: work, Goal(2.0))
    result = measure.measure(timed, SETTING, 2, lambda _: None)
    assert (result.goal, result.met, result.rounds) == (">= 2", True, 2)
    assert (result.reference, result.ours, result.lowest, result.highest) == (8, 3, 2, 4)
    memory = Benchmark("a/memory", lambda _: work, Goal(0.3), unit="bytes")
    result = measure.measure(memory, SETTING, 2, lambda _: None)
    assert (result.ratio, result.goal, result.met, result.rounds) == (0.4, "<= 0.3", False, 1)
