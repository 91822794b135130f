"""A real MLflow server: one that cannot be used, and answers that are lost."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.support.mlflow_servers import Server, free_port, losing_answers
from workflows.cli.main import main
from workflows.tracking import registry
from workflows.tracking.registry import Candidate
from workflows.tracking.runs import open_parent_run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a SQLite file."""
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder, f"sqlite:///{folder / 'server.db'}", {})
    server.start()
    yield server
    server.stop()


MESSAGES = {
    "wrong password": "does not know this user: set .*MLFLOW_TRACKING_PASSWORD",
    "no password": "does not know this user: set .*MLFLOW_TRACKING_PASSWORD",
    "password in address": "does not know this user: set .*MLFLOW_TRACKING_PASSWORD",
    "unknown host": r"no answer from http://mlflow\.invalid:5000: Failed to resolve",
    "not running": r"no answer from http://127\.0\.0\.1:\d+: .*Connection refused",
}


@pytest.mark.parametrize("case", MESSAGES)
def test_an_unusable_server_is_reported_at_once(
    server: Server, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    secret = "not-the-password"
    addresses = {
        "password in address": f"http://admin:{secret}@127.0.0.1:{server.port}",
        "unknown host": "http://mlflow.invalid:5000",
        "not running": f"http://admin:{secret}@127.0.0.1:{free_port()}",
    }
    user, password = {"wrong password": ("admin", secret)}.get(case, ("", ""))
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", addresses.get(case, server.uri))
    began = time.monotonic()
    with pytest.raises(SystemExit) as exit_info:
        main(["run", "--preset", "demo", "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert time.monotonic() - began < 30
    (line,) = capsys.readouterr().err.splitlines()
    assert exit_info.value.code == 2 and re.search(MESSAGES[case], line), line
    assert secret not in line and not (tmp_path / "out").exists()


def test_lost_answers_duplicate_nothing(server: Server, login, tmp_path: Path, tiny_config, tiny_data):
    client = login(server)
    weights = tmp_path / "trial01-a.safetensors"
    save_file({"weight": torch.zeros(1)}, weights)
    candidate = Candidate(0.5, "held out", "data")
    with losing_answers(server.port) as (uri, lost):
        run = open_parent_run(uri, tiny_config, "flaky", tiny_data, "data", None)
        child = run.child("stage", "stage 1", {"lr": 0.1})
        for epoch in (1, 2, 3):
            child.log_metrics({"loss/total": 0.5, "val_mAP": 0.1 * epoch}, step=epoch)
        child.log_image(torch.zeros(3, 4, 4, dtype=torch.uint8), "translations/epoch_001.png")
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
