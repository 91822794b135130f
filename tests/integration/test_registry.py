"""Model versions and the champion, in a real MLflow store."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from mlflow.tracking import MlflowClient
from safetensors.torch import save_file

from tsme.errors import UserError
from workflows.tracking import registry
from workflows.tracking.registry import Candidate
from workflows.tracking.runs import MlflowRun, open_parent_run
from workflows.tracking.server import tracking_uri


@pytest.fixture
def parent(in_folder: Path, empty_store: Path, tiny_config, tiny_data):
    """parent(): opens the MLflow run of a new workflow run, in the same store each time."""

    shutil.copy(empty_store, in_folder)

    def open_run() -> MlflowRun:
        return open_parent_run(tracking_uri(in_folder), tiny_config, "test", tiny_data, "data", None)

    return open_run


def weights(folder: Path, key: str) -> dict[int, Path]:
    path = folder / f"trial01-{key}.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    return {1: path}


def champion(run: MlflowRun) -> int:
    return int(MlflowClient(run.uri).get_model_version_by_alias("m", "champion").version)


def enter(run: MlflowRun, folder: Path, key: str, candidate: Candidate) -> tuple[int, str]:
    """Register weights and promote them if they are the best; the version and the decision."""
    version = registry.register(run, "m", weights(folder, key), 96, candidate)
    return version, registry.promote(run, "m", version, candidate)


def test_the_better_validation_score_is_champion(parent, in_folder):
    run = parent()
    assert enter(run, in_folder, "a", Candidate(0.5, "held out", "data"))[1].startswith("champion")
    version, decision = enter(parent(), in_folder, "b", Candidate(0.4, "held out", "data"))
    assert (version, champion(run)) == (2, 1) and decision.startswith("not champion")
    version, decision = enter(parent(), in_folder, "c", Candidate(0.5, "held out", "data"))
    assert (version, champion(run)) == (3, 1), "an equal score does not replace a champion"
    version, decision = enter(parent(), in_folder, "d", Candidate(0.6, "others", "data"))
    assert (version, champion(run)) == (4, 4) and "other held-out identities" in decision


def test_other_data_never_replace_a_champion(parent, in_folder):
    run = parent()
    enter(run, in_folder, "a", Candidate(0.2, "held out", "data"))
    version, decision = enter(parent(), in_folder, "b", Candidate(0.9, "held out", "other data"))
    assert (version, champion(run)) == (2, 1)
    assert decision.startswith("not champion") and "of other data" in decision
    # The decision says how to promote the version by hand.
    call = decision.rpartition("call ")[2]
    name, arguments = re.fullmatch(r"MlflowClient\(\)\.(\w+)\((.*)\)", call).groups()
    getattr(MlflowClient(run.uri), name)(*ast.literal_eval(f"({arguments})"))
    assert champion(run) == 2


def test_a_resumed_run_keeps_its_decision(parent, in_folder):
    first, second = parent(), parent()
    candidate = Candidate(0.5, "held out", "data")
    version, decision = enter(first, in_folder, "a", candidate)
    assert enter(second, in_folder, "b", Candidate(0.9, "held out", "data"))[0] == champion(first) == 2
    assert enter(first, in_folder, "a", candidate) == (version, decision)
    assert champion(first) == 2


def test_a_champion_without_a_score_is_replaced(parent, in_folder):
    run = parent()
    enter(run, in_folder, "a", Candidate(0.5, "held out", "data"))
    client = MlflowClient(run.uri)
    source = client.get_model_version("m", "1").source
    foreign = client.create_model_version("m", source)
    client.set_registered_model_alias("m", "champion", foreign.version)
    version, decision = enter(parent(), in_folder, "b", Candidate(0.2, "held out", "data"))
    assert champion(run) == version
    assert "version 2, registered by another program, has no validation mAP" in decision


def test_other_weights_of_a_run_are_another_version(parent, in_folder):
    run, candidate = parent(), Candidate(0.5, "held out", "data")
    assert registry.register(run, "m", weights(in_folder, "a"), 96, candidate) == 1
    assert registry.register(run, "m", weights(in_folder, "a"), 96, candidate) == 1
    assert registry.register(run, "m", weights(in_folder, "b"), 96, candidate) == 2


def test_registering_leaves_the_run_open_and_the_import_path_unchanged(parent, in_folder):
    run, path = parent(), list(sys.path)
    enter(run, in_folder, "a", Candidate(0.5, "held out", "data"))
    assert MlflowClient(run.uri).get_run(run.run_id).info.status == "RUNNING"
    assert sys.path == path


def test_the_model_knows_its_run_and_its_version(parent, in_folder):
    run = parent()
    version, _ = enter(run, in_folder, "a", Candidate(0.5, "held out", "data"))
    client = MlflowClient(run.uri)
    (model,) = client.search_logged_models([run.experiment_id])
    assert (model.status, model.source_run_id) == ("READY", run.run_id)
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "m", "version": version}]
    (output,) = client.get_run(run.run_id).outputs.model_outputs
    assert output.model_id == model.model_id


def test_an_unreachable_registry_is_not_an_empty_one(parent, in_folder, monkeypatch):
    run = parent()
    candidate = Candidate(0.5, "held out", "data")
    enter(run, in_folder, "a", candidate)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    lost = MlflowRun("http://127.0.0.1:9", run.experiment_id, run.run_id)
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        registry.promote(lost, "m", 2, candidate)
    assert champion(run) == 1


def test_weights_are_found_after_the_project_has_moved(in_folder, empty_store, tiny_config, tiny_data):
    old, new = in_folder / "old", in_folder / "new"
    old.mkdir()
    shutil.copy(empty_store, old)
    run = open_parent_run(tracking_uri(old), tiny_config, "test", tiny_data, "data", None)
    enter(run, old, "a", Candidate(0.5, "held out", "data"))
    old.rename(new)
    for uri in ("models:/m@champion", "models:/m/1"):
        folder = registry.fetch(uri, tracking_uri(new), in_folder / "target")
        assert [path.name for path in folder.iterdir()] == ["trial01-a.safetensors"]
    assert not old.exists()


def test_a_model_whose_files_are_gone_is_named_with_their_folder(parent, in_folder):
    enter(parent(), in_folder, "a", Candidate(0.5, "held out", "data"))
    shutil.rmtree(in_folder / "mlartifacts")
    with pytest.raises(UserError, match=rf"models:/m/1: its files should be in {in_folder}/mlartifacts/"):
        registry.fetch("models:/m/1", tracking_uri(in_folder), in_folder / "target")


@pytest.mark.parametrize(
    "uri", ["models:/m/7", "models:/other@champion", "models:/m@other", "models:/m/x"]
)
def test_a_model_that_does_not_exist_is_named(parent, in_folder, uri: str):
    enter(parent(), in_folder, "a", Candidate(0.5, "held out", "data"))
    with pytest.raises(UserError, match=rf"{uri}: not found in sqlite"):
        registry.fetch(uri, tracking_uri(in_folder), in_folder / "target")
