"""`tsme demo` as a new user runs it, in an empty folder."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import CancelledError
from pathlib import Path
from threading import Event

import pytest
from mlflow.tracking import MlflowClient
from rich.console import Console

from workflows.bars import progress_bars
from workflows.synthetic_data import generate_with_progress


def tsme(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workflows", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_demo_ends_with_a_champion_far_above_chance(tmp_path: Path):
    demo = tsme(tmp_path, "demo", "--out", "demo")
    assert demo.returncode == 0, demo.stderr
    results = json.loads((tmp_path / "demo" / "results.json").read_text())
    rows = results["trials"]
    assert {(row["trial"], row["direction"]) for row in rows} == {
        (trial, direction) for trial in range(1, 11) for direction in results["summary"]
    }
    assert len(rows) == 20
    assert {row["test_identities"] for row in rows} == {60}
    mean = sum(row["rank1"] for row in rows) / len(rows)
    assert mean >= 0.35, mean
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    champion = client.get_model_version_by_alias("tsme-demo", "champion")
    assert int(champion.version) == results["model"]["version"]

    arguments = ["--dataset", "regdb", "--data", "demo/data", "--json", "figures.json"]
    tested = tsme(tmp_path, "test", *arguments, "--resume", "models:/tsme-demo@champion")
    assert tested.returncode == 0, tested.stderr
    assert json.loads((tmp_path / "figures.json").read_text())["trials"] == rows

    again = tsme(tmp_path, "demo", "--out", "demo")
    assert again.returncode == 0, again.stderr
    assert "finished before" in again.stdout
    assert [line for line in again.stdout.splitlines() if "±" in line] == [
        line for line in demo.stdout.splitlines() if "±" in line
    ]


def test_generating_stops_on_request_and_leaves_nothing(tmp_path: Path):
    stopped = Event()
    stopped.set()
    bars = progress_bars(Console(quiet=True))
    with pytest.raises(CancelledError):
        generate_with_progress(
            tmp_path / "identities", "regdb", 40, 2, seed=0, bars=bars, stopped=stopped
        )
    assert list(tmp_path.iterdir()) == []
