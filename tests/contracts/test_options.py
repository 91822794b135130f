"""Options of the command line: their values, their help, and how soon a wrong one is reported."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tsme import presets
from workflows.cli import options
from workflows.cli.options import build_config


def test_files_of_weights_are_named_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("backbone.safetensors").touch()
    settings = ["reid.backbone.weights=backbone.safetensors", "dsgan.backbone.weights=none"]
    config = build_config("regdb", settings)
    assert config.reid.backbone.weights == str(tmp_path / "backbone.safetensors")
    assert config.dsgan.backbone.weights == "none"
    assert build_config("regdb", []).reid.backbone.weights == "imagenet"


def test_help_lists_the_presets():
    assert options.PRESETS.split(", ") == list(presets.PRESETS)


IMPORTS = """
import sys
from workflows.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("imported:", *sorted({"torch", "ray", "mlflow"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        "run --help",
        "data synth --help",
        "run --preset demo",
        "run --preset paper --data .",
        "run --preset demo --data . --set reid.lr=1",
        "run --preset demo --data nowhere",
        "run --preset demo --data . --trials 3-1",
        "train --dataset regdb --data nowhere",
        "sweep --preset demo --samples 2 --data nowhere",
        "ablate --preset small --data nowhere",
        "test --dataset regdb --data nowhere --resume weights",
        "data check --dataset regdb nowhere",
        "index --help",
        "index nowhere --model m --out new",
        "search --model m --gallery nowhere --query nothing.png",
    ],
)
def test_help_and_bad_usage_import_nothing_slow(tmp_path: Path, arguments: str):
    """Importing torch, Ray or MLflow takes seconds; a wrong option is reported before."""
    command = [sys.executable, "-c", IMPORTS, *arguments.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == (0 if "--help" in arguments else 2), done.stderr
    assert done.stderr.splitlines()[-1] == "imported:"


@pytest.mark.parametrize(
    ("arguments", "limit"), [("run --help", 0.5), ("run --preset demo --data no", 1.0)]
)
def test_help_and_bad_usage_take_little_processor_time(tmp_path: Path, arguments: str, limit: float):
    """Seconds of processor time; the least of three, as busy caches lengthen it too."""
    command = [sys.executable, "-m", "workflows", *arguments.split()]

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=tmp_path, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(seconds() < limit for _ in range(3))
