"""Who becomes champion, on a real MLflow store."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mlflow.tracking import MlflowClient
from safetensors.torch import save_file

from workflows.tracking import registry
from workflows.tracking import runs as tracking
from workflows.tracking.registry import Candidate


@pytest.fixture
def parent(in_folder: Path, tiny_config, tiny_data):
    """Opens MLflow runs of workflows in one store."""

    def open_run() -> tracking.MlflowRun:
        uri = tracking.tracking_uri(in_folder)
        return tracking.open_workflow(uri, tiny_config, "test", tiny_data, "data", None)

    return open_run


def weights(folder: Path, key: str) -> dict[int, Path]:
    path = folder / f"trial01-{key}.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    return {1: path}


def champion(run: tracking.MlflowRun) -> int:
    return int(MlflowClient(run.uri).get_model_version_by_alias("m", "champion").version)


def enter(run: tracking.MlflowRun, folder: Path, key: str, candidate: Candidate) -> tuple[int, str]:
    version = registry.register(run, "m", weights(folder, key), 96, candidate)
    return version, registry.promote(run, "m", version, candidate)


def test_the_better_validation_score_is_champion(parent, in_folder):
    run = parent()
    assert enter(run, in_folder, "a", Candidate(0.5, "people", "data"))[1].startswith("champion")
    version, decision = enter(parent(), in_folder, "b", Candidate(0.4, "people", "data"))
    assert (version, champion(run)) == (2, 1) and decision.startswith("not champion")
    version, decision = enter(parent(), in_folder, "c", Candidate(0.5, "people", "data"))
    assert (version, champion(run)) == (3, 1), "an equal score does not replace a champion"
    version, decision = enter(parent(), in_folder, "d", Candidate(0.6, "others", "data"))
    assert (version, champion(run)) == (4, 4) and "other held-out identities" in decision


def test_other_data_do_not_compare_and_a_resumed_run_contests_nothing(parent, in_folder):
    first, second = parent(), parent()
    old, new = Candidate(0.9, "people", "data"), Candidate(0.2, "people", "other data")
    version, decision = enter(first, in_folder, "a", old)
    assert enter(second, in_folder, "b", new)[0] == champion(first) == 2
    assert enter(first, in_folder, "a", old) == (version, decision)
    assert champion(first) == 2


def test_a_champion_that_others_made_gives_way(parent, in_folder):
    run = parent()
    enter(run, in_folder, "a", Candidate(0.5, "people", "data"))
    client = MlflowClient(run.uri)
    source = client.get_model_version("m", "1").source
    theirs = client.create_model_version("m", source)
    client.set_registered_model_alias("m", "champion", theirs.version)
    version, decision = enter(parent(), in_folder, "b", Candidate(0.2, "people", "data"))
    assert champion(run) == version and "version 2, made by others, has no score" in decision


def test_other_weights_of_a_run_are_another_version(parent, in_folder):
    run, candidate = parent(), Candidate(0.5, "people", "data")
    assert registry.register(run, "m", weights(in_folder, "a"), 96, candidate) == 1
    assert registry.register(run, "m", weights(in_folder, "a"), 96, candidate) == 1
    assert registry.register(run, "m", weights(in_folder, "b"), 96, candidate) == 2


def test_registering_leaves_the_run_open(parent, in_folder):
    run = parent()
    enter(run, in_folder, "a", Candidate(0.5, "people", "data"))
    assert MlflowClient(run.uri).get_run(run.run_id).info.status == "RUNNING"


def test_an_unreachable_registry_is_no_vacancy(parent, in_folder, monkeypatch):
    run = parent()
    candidate = Candidate(0.5, "people", "data")
    enter(run, in_folder, "a", candidate)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    lost = tracking.MlflowRun("http://127.0.0.1:9", run.experiment_id, run.run_id)
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        registry.promote(lost, "m", 2, candidate)
    assert champion(run) == 1
