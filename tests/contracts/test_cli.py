"""The command line: help on every level; bad usage and bad data are one line and exit status 2."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workflows.cli.main import main

COMMANDS = ["demo", "run", "train", "sweep", "ablate", "test", "index", "search", "serve", "export"]
COMMANDS += ["report", "status"]
COMMANDS += ["data", "data synth", "data check"]


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The line on standard error of a command that fails with bad usage or bad input."""
    status, _, error = call(capsys, *arguments)
    assert status == 2, error
    assert error.count("\n") == 1 and error.startswith("tsme: "), error
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_on_every_level(capsys: pytest.CaptureFixture[str], command: str):
    status, output, error = call(capsys, *command.split(), "--help")
    assert status == 0 and not error
    assert "Usage" in output and "--help" in output


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fly"], "fly"),
        (["run"], "--preset"),
        (["run", "--preset", "paper", "--data", "DATA"], "preset paper"),
        (["run", "--preset", "demo", "--data", "nowhere"], "nowhere"),
        (["run", "--preset", "demo", "--data", "DATA", "--trials", "11"], "trial 11"),
        (["run", "--preset", "demo", "--data", "DATA", "--trials", "3-1"], "--trials 3-1"),
        (["run", "--preset", "demo", "--data", "DATA", "--trials", "one"], "--trials one"),
        (["run", "--preset", "demo", "--data", "DATA", "--sweep", "-1"], "--sweep"),
        (["run", "--preset", "demo", "--data", "DATA", "--set", "reid.lr=1"], "reid.lr"),
        (["run", "--preset", "demo", "--data", "DATA", "--set", "reid.epochs=none"], "reid.epochs=none"),
        (["run", "--preset", "demo", "--data", "DATA", "--set", "reid.epochs"], "KEY=VALUE"),
        (
            ["run", "--preset", "regdb_strong", "--data", "DATA", "--set", "reid.epochs=9"],
            "reid.optimizer.warmup: 10 of 9",
        ),
        (["ablate", "--preset", "demo", "--data", "DATA", "--seeds", "0"], "--seeds"),
        (["train", "--dataset", "market", "--data", "DATA"], "market"),
        (["train", "--dataset", "regdb", "--data", "DATA", "--stage", "three"], "three"),
        (["test", "--dataset", "regdb", "--data", "DATA", "--resume", "nothing.safetensors"],
         "nothing.safetensors"),
        (["test", "--dataset", "regdb", "--data", "DATA", "--resume", "models:/nobody@champion"],
         "models:/nobody@champion"),
        (["test", "--dataset", "regdb", "--data", "DATA", "--resume", "x", "--mode", "all"], "--mode"),
        (["test", "--dataset", "llcm", "--data", "DATA", "--resume", "x", "--shots", "multi"], "--shots"),
        (["test", "--dataset", "sysu", "--data", "DATA", "--resume", "x", "--trial", "10"], "--trial 10"),
        (["run", "--preset", "demo", "--data", "DATA", "--set", "evaluation.draws=[10]"],
         "evaluation.draws"),
        (["train", "--dataset", "sysu", "--data", "DATA"], "cam1"),
        (["data", "check", "--dataset", "regdb", "nowhere"], "nowhere"),
        (["data", "check", "--dataset", "llcm", "DATA"], "idx"),
        (["data", "check", "--dataset", "csv", "DATA"], "DATA"),
        (["index", "nowhere", "--model", "m", "--out", "new"], "nowhere"),
        (["index", "DATA", "--model", "m.safetensors", "--out", "new"], "m.safetensors"),
        (["index", "DATA", "--model", "m", "--out", "new", "--modality", "thermal"], "thermal"),
        (["search", "--model", "m", "--gallery", "DATA", "--query", "q.png"], "q.png"),
        (["search", "--model", "m", "--gallery", "DATA", "--query", "q.png", "--top", "0"], "--top"),
        (["serve", "--model", "m", "--index", "DATA"], "DATA"),
        (["export", "--model", "m", "--modality", "both", "--onnx", "f"], "both"),
        (["data", "synth", "DATA", "--ids", "8"], "DATA"),
        (["data", "synth", "new", "--ids", "1"], "1"),
        (["report", "nowhere"], "nowhere"),
        (["report", "DATA"], "results.json"),
    ],
)  # fmt: skip
def test_bad_usage_is_one_line_that_names_it(
    capsys: pytest.CaptureFixture[str],
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    named: str,
):
    monkeypatch.chdir(tmp_path)
    put = [str(tiny_data) if word == "DATA" else word for word in arguments]
    assert (str(tiny_data) if named == "DATA" else named) in complaint(capsys, *put)
    assert not (tmp_path / "runs").exists()


def break_list(root: Path, name: str, change) -> None:
    path = root / "idx" / name
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def first_image(root: Path) -> Path:
    return root / (root / "idx" / "train_thermal_1.txt").read_text().split()[0]


def leak_a_person(root: Path) -> None:
    for modality in ("visible", "thermal"):
        lines = (root / "idx" / f"train_{modality}_1.txt").read_text().splitlines()
        person = [line.rsplit(" ", 1)[0] for line in lines if line.endswith(" 0")]
        with (root / "idx" / f"test_{modality}_1.txt").open("a") as file:
            file.writelines(f"{path} 8\n" for path in person)


BREAKS = {
    "missing list": (
        lambda root: (root / "idx" / "test_thermal_2.txt").unlink(), "test_thermal_2.txt"
    ),
    "missing image": (lambda root: first_image(root).unlink(), "train_thermal_1.txt"),
    "unreadable image": (lambda root: first_image(root).write_bytes(b"BM no image"), ".bmp"),
    "label is a word": (
        lambda root: break_list(
            root, "train_visible_1.txt", lambda rows: [r.replace(" 3\n", " three\n") for r in rows]
        ),
        "train_visible_1.txt",
    ),
    "person in train and test": (leak_a_person, "test_visible_1.txt"),
    "a line of one word": (
        lambda root: break_list(root, "train_visible_1.txt", lambda rows: ["Visible\n", *rows]),
        "train_visible_1.txt, line 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BREAKS)
@pytest.mark.parametrize("command", ["run --preset demo --data", "data check --dataset regdb"])
def test_bad_data_is_one_line_that_names_it(
    capsys: pytest.CaptureFixture[str],
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    kind: str,
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_data, tmp_path / "broken")
    damage, named = BREAKS[kind]
    damage(tmp_path / "broken")
    assert named in complaint(capsys, *command.split(), "broken")
    assert not (tmp_path / "runs").exists()


def test_check_of_sound_data_reports_counts(capsys: pytest.CaptureFixture[str], tiny_data: Path):
    status, output, _ = call(capsys, "data", "check", "--dataset", "regdb", str(tiny_data))
    assert status == 0
    assert "16 identities, 128 images" in output and "no faults" in output


@pytest.mark.parametrize("module", ["workflows", "tune"])
def test_modules_run_as_commands(module: str):
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("--samples" if module == "tune" else "sweep") in done.stdout
