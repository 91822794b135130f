"""A real tracking server: its login, its absence, answers lost on the way, many that log at once.

The slow part has the server keep its records in PostgreSQL, from the Debian package.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from mlflow.tracking import MlflowClient
from safetensors.torch import save_file

from tests.support.mlflow_servers import (
    Command,
    Server,
    ended,
    free_port,
    losing_answers,
    postgres,
    records,
    run_of,
    steps,
    wait_for,
)
from workflows.cli.main import main
from workflows.tracking import registry
from workflows.tracking import runs as tracking
from workflows.tracking.registry import Candidate
from workflows.tracking.server import redact

OUTAGE = 60.0
TASKS, BATCHES = 16, 50
# Nothing may depend on which sample is first: none is stopped early.
SETTINGS = ["dsgan.epochs=3", "reid.epochs=4", "sweep.grace_epochs=4"]
TRIALS = [f"trial {trial:02d} stage {stage}" for trial in (1, 2)
          for stage in ("1 dsgan", "2 reid", "3 evaluation")]  # fmt: skip


@pytest.fixture
def login(monkeypatch: pytest.MonkeyPatch) -> Callable[[Server], MlflowClient]:
    """login(server): this process logs in there; a client that looks after what happened."""

    def enter(server: Server) -> MlflowClient:
        for name, value in server.login.items():
            monkeypatch.setenv(name, value)
        return MlflowClient(server.uri)

    return enter


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps its records in a file."""
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder, f"sqlite:///{folder / 'server.db'}", {})
    server.start()
    yield server
    server.stop()


def test_passwords_are_taken_from_addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    names = [f"MLFLOW_TRACKING_{part}" for part in ("URI", "USERNAME", "PASSWORD")]
    for name, value in zip(names, ("https://a%40b:p%2Fw@host:5000/x", "other", "other"), strict=True):
        monkeypatch.setenv(name, value)
    assert tracking.tracking_uri(tmp_path) == "https://host:5000/x"
    assert [os.environ[name] for name in names] == ["https://host:5000/x", "a@b", "p/w"]
    # A database's stays there, but is not shown; the run to continue is found by what was shown.
    database = "postgresql://user:pass@host/records?sslpassword=pass"
    monkeypatch.setenv(names[0], database)
    assert redact(database) == "postgresql://host/records"
    assert tracking.tracking_uri(tmp_path, "postgresql://host/records") == database
    assert tracking.tracking_uri(tmp_path, "sqlite:////other.db") == "sqlite:////other.db"
    assert redact("sqlite:////other.db") == "sqlite:////other.db"


def test_a_file_named_from_here_is_the_same_one_for_workers(
    monkeypatch: pytest.MonkeyPatch, in_folder: Path
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert tracking.tracking_uri(Path("/elsewhere")) == f"sqlite:///{in_folder / 'mlflow.db'}"


WORDS = {
    "wrong password": "does not know this user: set .*MLFLOW_TRACKING_PASSWORD",
    "no password": "does not know this user: set .*MLFLOW_TRACKING_PASSWORD",
    "password in address": "does not know this user: set .*MLFLOW_TRACKING_PASSWORD",
    "unknown host": r"no answer from http://mlflow\.invalid:5000: Failed to resolve",
    "nobody there": r"no answer from http://127\.0\.0\.1:\d+: .*Connection refused",
}


@pytest.mark.parametrize("case", WORDS)
def test_a_server_that_will_not_do_is_told_at_once(
    server: Server, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    secret = "not-the-password"
    addresses = {
        "password in address": f"http://admin:{secret}@127.0.0.1:{server.port}",
        "unknown host": "http://mlflow.invalid:5000",
        "nobody there": f"http://admin:{secret}@127.0.0.1:{free_port()}",
    }
    given = {"wrong password": ("admin", secret)}.get(case, ("", ""))
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", given[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", given[1])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", addresses.get(case, server.uri))
    began = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        main(["run", "--preset", "demo", "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert time.monotonic() - began < 30
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and re.search(WORDS[case], line), line
    assert secret not in line and not (tmp_path / "out").exists()


def test_lost_answers_double_nothing(server: Server, login, tmp_path: Path, tiny_config, tiny_data):
    client = login(server)
    weights = tmp_path / "trial01-a.safetensors"
    save_file({"weight": torch.zeros(1)}, weights)
    candidate = Candidate(0.5, "people", "data")
    with losing_answers(server.port) as (uri, lost):
        run = tracking.open_workflow(uri, tiny_config, "flaky", tiny_data, "data", None)
        child = run.child("stage", "stage 1", {"lr": 0.1})
        for epoch in (1, 2, 3):
            child.log_metrics({"loss/total": 0.5, "val_mAP": 0.1 * epoch}, step=epoch)
        child.log_picture(torch.zeros(3, 4, 4, dtype=torch.uint8), "translations/epoch_001.png")
        child.close()
        assert run.child("stage", "stage 1", {"lr": 0.1}) == child
        version = registry.register(run, "flaky", {1: weights}, 96, candidate)
        decision = registry.promote(run, "flaky", version, candidate)
        run.log_file(weights)
        run.close_running_children("FINISHED")
        run.close()
        fetched = registry.fetch("models:/flaky@champion", uri, tmp_path / "fetched")
    assert len(lost) > 30 and {line.split()[0] for line in lost} >= {"GET", "POST", "PUT"}
    runs = client.search_runs([run.experiment_id])
    assert {found.info.run_id for found in runs} == {run.run_id, child.run_id} and len(runs) == 2
    assert {found.info.status for found in runs} == {"FINISHED"}
    for metric in ("loss/total", "val_mAP"):
        history = client.get_metric_history(child.run_id, metric)
        assert [point.step for point in history] == [1, 2, 3]
    parent = client.get_run(run.run_id)
    assert len(parent.inputs.dataset_inputs) == 1 and len(parent.outputs.model_outputs) == 1
    assert len(client.search_logged_models([run.experiment_id])) == 1
    (known,) = client.search_model_versions("name = 'flaky'")
    assert int(known.version) == version and known.tags["decision"] == decision
    assert (fetched / weights.name).read_bytes() == weights.read_bytes()


# --- with PostgreSQL, a whole run, and a server away ---


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps its records in PostgreSQL."""
    with postgres() as (uri, password):
        server = Server(tmp_path_factory.mktemp("server"), uri, password)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def make_command(real: Server, tiny_data, tiny_settings, tmp_path_factory: pytest.TempPathFactory):
    """make_command(uri): a command that logs to the server, by another address of it if given."""

    def make(uri: str = real.uri, **env: str) -> Command:
        env |= {"MLFLOW_TRACKING_URI": uri}
        settings = [*tiny_settings, *SETTINGS]
        return Command(tmp_path_factory.mktemp("run"), tiny_data, settings, env)

    return make


@pytest.fixture(scope="module")
def calm(real: Server, make_command: Callable[..., Command]) -> Command:
    """A run that nothing disturbed."""
    command = make_command(**real.login)
    printed = ended(command.start())
    assert real.uri in printed and real.password not in printed
    return command


@pytest.mark.cluster
def test_a_run_keeps_all_it_has_on_the_server(real: Server, calm: Command, login, tiny_data: Path):
    client = login(real)
    runs = run_of(client, calm)
    assert set(runs) == {"run demo", "sweep sample-01", "sweep sample-02", *TRIALS}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert all(run.info.artifact_uri.startswith("mlflow-artifacts:/") for run in runs.values())
    parent, stage = runs["run demo"].info.run_id, runs["trial 01 stage 1 dsgan"].info.run_id
    fetched = Path(client.download_artifacts(parent, "results.json", str(calm.folder)))
    assert json.loads(fetched.read_text()) == calm.results
    pictures = [Path(file.path).name for file in client.list_artifacts(stage, "translations")]
    assert pictures == ["epoch_001.png", "epoch_002.png", "epoch_003.png"]
    assert len(list(real.artifacts.rglob(f"{stage}/**/epoch_00*.png"))) == 3
    assert {path.name for path in calm.folder.iterdir()} == {"out", "results.json"}
    assert calm.results["mlflow_uri"] == real.uri

    options = ["--dataset", "regdb", "--data", str(tiny_data), "--json", "figures.json"]
    ended(calm.tsme("test", *options, "--resume", "models:/tsme-regdb@champion"))
    assert json.loads((calm.folder / "figures.json").read_text())["trials"] == calm.results["trials"]


@pytest.mark.cluster
def test_many_tasks_log_at_once_and_nothing_is_lost(
    real: Server, ray_here, login, tmp_path: Path, tiny_config
):
    client = login(real)
    parent = tracking.open_workflow(real.uri, tiny_config, "crowd", tmp_path, "data", None)

    @ray.remote(num_cpus=0.1, runtime_env={"env_vars": real.login})
    def log(task: int) -> float:
        run, slowest = parent.child(f"task {task}", f"task {task}", {"task": task}), 0.0
        for batch in range(BATCHES):
            began = time.monotonic()
            run.log_metrics({f"metric-{n}": task + batch / 100 + n for n in range(5)}, step=batch)
            slowest = max(slowest, time.monotonic() - began)
        run.close()
        return slowest

    slowest = max(ray.get([log.remote(task) for task in range(TASKS)]))
    print(f"slowest of {TASKS * BATCHES} calls: {slowest:.2f} s")
    mine = f"tags.`mlflow.parentRunId` = '{parent.run_id}'"
    runs = client.search_runs([parent.experiment_id], mine)
    assert len(runs) == TASKS and {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        task = int(run.data.params["task"])
        for n in range(5):
            points = client.get_metric_history(run.info.run_id, f"metric-{n}")
            assert sorted((point.step, point.value) for point in points) == [
                (batch, task + batch / 100 + n) for batch in range(BATCHES)
            ]


@pytest.mark.cluster
def test_a_server_away_for_a_minute_leaves_no_trace(real: Server, calm: Command, make_command, login):
    client = login(real)
    # By an address that holds the password: it is seen nowhere afterwards.
    struck = make_command(f"http://admin:{real.password}@127.0.0.1:{real.port}")
    process = struck.start(MLFLOW_TRACKING_USERNAME="", MLFLOW_TRACKING_PASSWORD="")
    wait_for(lambda: steps(client, struck, "trial 01 stage 1 dsgan") >= 1, "training", 300)
    real.stop()
    time.sleep(OUTAGE)
    real.start()
    assert process.poll() is None, "it was over before the server came back"
    printed = ended(process)
    assert records(client, struck) == records(client, calm)
    assert struck.results["trials"] == calm.results["trials"]
    assert real.password not in printed and struck.results["mlflow_uri"] == real.uri
    files = [path for path in struck.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if real.password.encode() in path.read_bytes()]
    for run in run_of(client, struck).values():
        assert real.password not in str(run.data.params) + str(run.data.tags)


@pytest.mark.cluster
@pytest.mark.parametrize("moment", ["sweep sample-01", "trial 01 stage 1 dsgan"])
def test_a_server_away_for_longer_is_one_error_and_resumed(
    real: Server, calm: Command, make_command, login, moment: str
):
    client = login(real)
    struck = make_command(**real.login)
    process = struck.start(MLFLOW_HTTP_REQUEST_MAX_RETRIES="3")
    wait_for(lambda: steps(client, struck, moment) >= 1, moment, 300)
    real.stop()
    began = time.monotonic()
    output, errors = process.communicate(timeout=300)
    seconds = time.monotonic() - began
    real.start()
    assert process.returncode == 1, output + errors
    line = errors.splitlines()[-1]
    assert line.startswith(f"tsme: MLflow at {real.uri}: no answer") and "--resume" in line, errors
    assert "Traceback" not in errors, errors
    print(f"gave up {moment} after {seconds:.0f} s: {line}")
    ended(struck.start("--resume"))
    assert struck.results["trials"] == calm.results["trials"]
    undisturbed, mine = records(client, calm), records(client, struck)
    assert set(mine) == set(undisturbed)
    for name, expected in undisturbed.items():
        assert mine[name]["files"] == expected["files"]
        assert mine[name]["params"] == expected["params"] and mine[name]["status"] == "FINISHED"
        for metric, points in expected["metrics"].items():
            # The epoch that could not be told of is trained, and told of, again.
            assert set(mine[name]["metrics"][metric]) == set(points)
