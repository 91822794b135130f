"""A real MLflow server with PostgreSQL, from the Debian package: a whole run, many clients, downtime."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from tests.support.mlflow_servers import (
    Command,
    Server,
    output_of,
    postgres,
    records,
    run_of,
    steps,
    wait_for,
)
from workflows.tracking.runs import open_parent_run

pytestmark = pytest.mark.cluster

DOWNTIME_SECONDS = 60.0
TASKS, BATCHES = 16, 50
# No sample is stopped early, so that nothing depends on which sample is first.
SETTINGS = ["dsgan.epochs=3", "reid.epochs=4", "sweep.grace_epochs=4"]
TRIALS = [f"trial {trial:02d} stage {stage}" for trial in (1, 2)
          for stage in ("1 dsgan", "2 reid", "3 evaluation")]  # fmt: skip


@pytest.fixture(scope="module")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with PostgreSQL."""
    with postgres() as (uri, password):
        server = Server(tmp_path_factory.mktemp("server"), uri, password)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def make_command(
    postgres_server: Server, tiny_data, tiny_settings, tmp_path_factory: pytest.TempPathFactory
):
    """make_command(uri): a command that logs to the server at this address."""

    def make(uri: str = postgres_server.uri, **env: str) -> Command:
        env |= {"MLFLOW_TRACKING_URI": uri}
        settings = [*tiny_settings, *SETTINGS]
        return Command(tmp_path_factory.mktemp("run"), tiny_data, settings, env)

    return make


@pytest.fixture(scope="module")
def undisturbed(postgres_server: Server, make_command: Callable[..., Command]) -> Command:
    """A run without any failure."""
    command = make_command(**postgres_server.login)
    printed = output_of(command.start())
    assert postgres_server.uri in printed and postgres_server.password not in printed
    return command


def test_a_run_stores_everything_on_the_server(
    postgres_server: Server, undisturbed: Command, login, tiny_data: Path
):
    client = login(postgres_server)
    runs = run_of(client, undisturbed)
    assert set(runs) == {"run demo", "sweep sample-01", "sweep sample-02", *TRIALS}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert all(run.info.artifact_uri.startswith("mlflow-artifacts:/") for run in runs.values())
    parent, stage = runs["run demo"].info.run_id, runs["trial 01 stage 1 dsgan"].info.run_id
    fetched = Path(client.download_artifacts(parent, "results.json", str(undisturbed.folder)))
    assert json.loads(fetched.read_text()) == undisturbed.results
    pictures = [Path(file.path).name for file in client.list_artifacts(stage, "translations")]
    assert pictures == ["epoch_001.png", "epoch_002.png", "epoch_003.png"]
    assert len(list(postgres_server.artifacts.rglob(f"{stage}/**/epoch_00*.png"))) == 3
    assert {path.name for path in undisturbed.folder.iterdir()} == {"out", "results.json"}
    assert undisturbed.results["mlflow_uri"] == postgres_server.uri

    options = ["--dataset", "regdb", "--data", str(tiny_data), "--json", "figures.json"]
    output_of(undisturbed.tsme("test", *options, "--resume", "models:/tsme-regdb@champion"))
    assert (
        json.loads((undisturbed.folder / "figures.json").read_text())["trials"]
        == undisturbed.results["trials"]
    )


def test_concurrent_logging_loses_nothing(
    postgres_server: Server, ray_here, login, tmp_path: Path, tiny_config
):
    client = login(postgres_server)
    parent = open_parent_run(postgres_server.uri, tiny_config, "crowd", tmp_path, "data", None)

    @ray.remote(num_cpus=0.1, runtime_env={"env_vars": postgres_server.login})
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
    of_parent = f"tags.`mlflow.parentRunId` = '{parent.run_id}'"
    runs = client.search_runs([parent.experiment_id], of_parent)
    assert len(runs) == TASKS and {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        task = int(run.data.params["task"])
        for n in range(5):
            points = client.get_metric_history(run.info.run_id, f"metric-{n}")
            assert sorted((point.step, point.value) for point in points) == [
                (batch, task + batch / 100 + n) for batch in range(BATCHES)
            ]


def test_a_minute_of_downtime_changes_nothing(
    postgres_server: Server, undisturbed: Command, make_command, login
):
    client = login(postgres_server)
    # The address contains the password, which must not appear anywhere afterwards.
    interrupted = make_command(
        f"http://admin:{postgres_server.password}@127.0.0.1:{postgres_server.port}"
    )
    process = interrupted.start(MLFLOW_TRACKING_USERNAME="", MLFLOW_TRACKING_PASSWORD="")
    wait_for(lambda: steps(client, interrupted, "trial 01 stage 1 dsgan") >= 1, "training", 300)
    postgres_server.stop()
    time.sleep(DOWNTIME_SECONDS)
    postgres_server.start()
    assert process.poll() is None, "the run ended before the server came back"
    printed = output_of(process)
    assert records(client, interrupted) == records(client, undisturbed)
    assert interrupted.results["trials"] == undisturbed.results["trials"]
    assert (
        postgres_server.password not in printed
        and interrupted.results["mlflow_uri"] == postgres_server.uri
    )
    files = [path for path in interrupted.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if postgres_server.password.encode() in path.read_bytes()]
    for run in run_of(client, interrupted).values():
        assert postgres_server.password not in str(run.data.params) + str(run.data.tags)


@pytest.mark.parametrize("stage", ["sweep sample-01", "trial 01 stage 1 dsgan"])
def test_longer_downtime_is_one_error_and_the_run_resumes(
    postgres_server: Server, undisturbed: Command, make_command, login, stage: str
):
    client = login(postgres_server)
    interrupted = make_command(**postgres_server.login)
    process = interrupted.start(MLFLOW_HTTP_REQUEST_MAX_RETRIES="3")
    wait_for(lambda: steps(client, interrupted, stage) >= 1, stage, 300)
    postgres_server.stop()
    began = time.monotonic()
    output, errors = process.communicate(timeout=300)
    seconds = time.monotonic() - began
    postgres_server.start()
    assert process.returncode == 1, output + errors
    line = errors.splitlines()[-1]
    assert line.startswith(f"tsme: MLflow at {postgres_server.uri}: no answer") and "--resume" in line, (
        errors
    )
    assert "Traceback" not in errors, errors
    print(f"gave up {stage} after {seconds:.0f} s: {line}")
    output_of(interrupted.start("--resume"))
    assert interrupted.results["trials"] == undisturbed.results["trials"]
    expected_records, actual_records = records(client, undisturbed), records(client, interrupted)
    assert set(actual_records) == set(expected_records)
    for name, expected in expected_records.items():
        assert actual_records[name]["files"] == expected["files"]
        assert (
            actual_records[name]["params"] == expected["params"]
            and actual_records[name]["status"] == "FINISHED"
        )
        for metric, points in expected["metrics"].items():
            # The epoch that could not be logged is trained and logged again.
            assert set(actual_records[name]["metrics"][metric]) == set(points)
