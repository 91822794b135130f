"""The whole workflow on two trials: the files and records it writes, and that its figures repeat."""

from __future__ import annotations

import io
import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from PIL import Image
from rich.console import Console

from tsme.config import Config, EvaluationConfig
from tsme.errors import UserError
from tsme.settings import override
from workflows.cli.report import status_lines
from workflows.evaluate_weights import evaluate_weights
from workflows.pipeline import run_workflow
from workflows.run import RunOptions, open_run
from workflows.status import read_status

SAMPLES = 2


def run(config, data: Path, out: Path, **options) -> dict:
    options = {"samples": SAMPLES} | options
    return run_workflow(RunOptions("test", config, data, out, **options), Console(quiet=True))


@pytest.fixture(scope="module")
def finished(ray_here, tiny_config, tiny_data, tmp_path_factory):
    """Folder and results of a finished run, in whose folder the tests run."""
    folder = tmp_path_factory.mktemp("workflow")
    before = Path.cwd()
    os.chdir(folder)
    yield folder, run(tiny_config, tiny_data, folder / "out")
    os.chdir(before)


def evaluated(data: Path, weights: str, trial: int | None, *, cross_trial: bool) -> dict:
    options = {"cross_trial": cross_trial, "console": Console(quiet=True)}
    return evaluate_weights("regdb", data, weights, trial, EvaluationConfig(), **options)


def client(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def children(folder: Path, results: dict) -> dict:
    parent = client(folder).get_run(results["mlflow_run"])
    runs = client(folder).search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    return {run.info.run_name: run for run in runs}


def test_results_hold_both_directions_of_every_trial(finished):
    folder, results = finished
    written = json.loads((folder / "out" / "results.json").read_text())
    assert written == results
    rows = Counter((row["trial"], row["direction"]) for row in results["trials"])
    assert rows == {(t, d): 1 for t in (1, 2) for d in results["summary"]}
    assert set(results["summary"]) == {"visible-to-infrared", "infrared-to-visible"}
    for row in results["trials"]:
        assert row["model_trial"] == row["trial"]
        assert row["seen_identities"] == 0
        assert row["queries"] == 8 * 4
        assert 0 <= row["rank1"] <= row["rank5"] <= row["rank10"] <= row["rank20"] <= 1


def test_mlflow_has_a_child_run_for_every_stage_sample_and_evaluation(finished):
    folder, results = finished
    runs = children(folder, results)
    expected = {f"sweep sample-{n:02d}" for n in range(1, SAMPLES + 1)}
    for trial in ("trial 01", "trial 02"):
        expected |= {f"{trial} stage {s}" for s in ("1 dsgan", "2 reid", "3 evaluation")}
    assert set(runs) == expected
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_mlflow_has_losses_curves_and_images(finished):
    folder, results = finished
    runs = children(folder, results)
    stage1, stage2 = runs["trial 01 stage 1 dsgan"], runs["trial 01 stage 2 reid"]
    assert {f"loss/{n}" for n in ("adversarial", "cycle", "total", "discriminator")} <= set(
        stage1.data.metrics
    )
    assert {f"loss/{kind}_{term}" for kind in ("fused", "real", "translated") for term in
            ("identity", "centre")} <= set(stage2.data.metrics)  # fmt: skip
    history = client(folder).get_metric_history(stage1.info.run_id, "loss/total")
    assert [point.step for point in history] == [1, 2]
    pictures = client(folder).list_artifacts(stage1.info.run_id, "translations")
    assert [Path(p.path).name for p in pictures] == ["epoch_001.png", "epoch_002.png"]
    sample = runs["sweep sample-01"]
    curve = client(folder).get_metric_history(sample.info.run_id, "val_mAP")
    assert curve and all(0 < point.value <= 1 for point in curve)


def test_the_chosen_configuration_has_the_best_values_and_keeps_its_schedule(finished, tiny_config):
    _, results = finished
    best = results["validation"]["samples"][0]
    chosen = Config.model_validate(results["config"])
    assert chosen.reid == override(tiny_config, best["values"]).reid
    assert chosen.reid.epochs == tiny_config.reid.epochs
    assert 1 <= results["validation"]["best_epoch"] == best["epoch"] <= tiny_config.reid.epochs


def test_timeline_has_the_seconds_of_every_step(finished):
    _, results = finished
    steps = {line["step"].partition(":")[0]: line["seconds"] for line in results["timeline"]}
    assert list(steps) == ["start", "sweep", "train", "register", "evaluate", "promote"]
    assert all(steps[name] > 0 for name in ("start", "sweep", "train", "evaluate"))


def test_the_parent_run_records_configuration_code_and_data(finished):
    folder, results = finished
    parent = client(folder).get_run(results["mlflow_run"])
    assert parent.data.params["reid.loss.hetero_centre"]
    assert parent.data.tags["data_fingerprint"] == results["data_fingerprint"]
    assert parent.data.tags["git_revision"]
    assert parent.data.tags["version.torch"]
    assert parent.inputs.dataset_inputs[0].dataset.digest == results["data_fingerprint"]
    mean = results["summary"]["visible-to-infrared"]["rank1"]["mean"]
    assert parent.data.metrics["visible-to-infrared/rank1_mean"] == mean


def test_the_report_has_all_parts_and_is_the_parent_runs_artifact(finished):
    folder, results = finished
    page = (folder / "out" / "report.html").read_text()
    assert 'class="missing"' not in page
    mean = 100 * results["summary"]["visible-to-infrared"]["mAP"]["mean"]
    assert f"{mean:.2f}<" in page
    assert results["trials"][0]["cmc"][0] == results["trials"][0]["rank1"]
    artifacts = {each.path for each in client(folder).list_artifacts(results["mlflow_run"])}
    assert {"report.html", "results.json"} <= artifacts
    history = json.loads((folder / "out" / "history.json").read_text())
    curves = {each["name"]: each["curves"] for each in history}
    assert curves["trial 01 stage 1 dsgan"]["loss/total"]["epochs"] == [1, 2]
    assert all(each["place"].endswith("CPU") for each in history)


def test_the_status_says_that_the_run_has_finished(finished):
    folder, _ = finished
    lines = list(status_lines(folder / "out", read_status(folder / "out"), time.time()))
    assert "finished" in lines[0]
    done = [line.split()[1].rstrip(":") for line in lines if line.startswith("  done")]
    assert done == ["start", "sweep", "train", "register", "evaluate", "promote", "report"]


def test_version_is_champion_and_reproduces_its_figures(finished, tiny_data):
    folder, results = finished
    version = client(folder).get_model_version_by_alias("tsme-regdb", "champion")
    assert int(version.version) == results["model"]["version"]
    assert float(version.tags["validation_mAP"]) == results["validation"]["mAP"]
    again = evaluated(tiny_data, "models:/tsme-regdb@champion", None, cross_trial=False)
    assert again["trials"] == results["trials"]


def test_the_version_and_the_run_describe_data_figures_and_use(finished):
    folder, results = finished
    name, number = results["model"]["name"], str(results["model"]["version"])
    version = client(folder).get_model_version(name, number)
    mean = 100 * results["summary"]["infrared-to-visible"]["mAP"]["mean"]
    for text in (results["data_fingerprint"], f"{mean:.2f}", f"models:/{name}/{number}"):
        assert text in version.description
    assert version.run_id == results["mlflow_run"]
    assert "champion" in client(folder).get_registered_model(name).description
    note = client(folder).get_run(results["mlflow_run"]).data.tags["mlflow.note.content"]
    assert f"{mean:.2f}" in note and "report.html" in note


def test_weights_of_another_trial_are_refused_by_name(finished, tiny_data):
    folder, _ = finished
    (weights,) = (folder / "out" / "stages").glob("trial01-*.safetensors")
    with pytest.raises(UserError, match=r"weights of trial 1 offered to trial 2"):
        evaluated(tiny_data, str(weights), 2, cross_trial=False)
    rows = evaluated(tiny_data, str(weights), 2, cross_trial=True)["trials"]
    assert {row["model_trial"] for row in rows} == {1}
    assert all(row["seen_identities"] > 0 for row in rows)


def test_the_same_seed_gives_the_same_figures_and_leaves_the_champion(finished, tiny_config, tiny_data):
    folder, results = finished
    again = run(tiny_config, tiny_data, folder / "again")
    assert again["trials"] == results["trials"]
    assert again["validation"] == results["validation"]
    assert again["model"]["version"] == results["model"]["version"] + 1
    assert "not champion" in again["model"]["decision"]
    champion = client(folder).get_model_version_by_alias("tsme-regdb", "champion")
    assert int(champion.version) == results["model"]["version"]


def test_resuming_a_finished_run_trains_nothing_and_registers_nothing(finished, tiny_config, tiny_data):
    folder, results = finished
    products = folder / "out" / "stages"
    before = {path.name: path.stat().st_mtime_ns for path in products.iterdir()}
    again = run(tiny_config, tiny_data, folder / "out", resume=True)
    assert {path.name: path.stat().st_mtime_ns for path in products.iterdir()} == before
    assert again["trials"] == results["trials"]
    assert again["model"] == results["model"]


def test_a_folder_in_use_is_refused(finished, tiny_config, tiny_data):
    folder, _ = finished
    with pytest.raises(UserError, match="--resume continues it"):
        run(tiny_config, tiny_data, folder / "out")
    other = tiny_config.model_copy(update={"seed": 7})
    with pytest.raises(UserError, match="another samples"):
        run(tiny_config, tiny_data, folder / "out", resume=True, samples=5)
    with pytest.raises(UserError, match="another config"):
        run(other, tiny_data, folder / "out", resume=True)


def test_a_registered_model_loads_by_name_and_embeds_images(finished, monkeypatch):
    import mlflow
    import numpy as np
    import pandas

    folder, _ = finished
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    monkeypatch.setenv(
        "MLFLOW_TRACKING_URI", uri
    )  # restored after the test; set_tracking_uri sets it too
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model("models:/tsme-regdb@champion")
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 20, 3), dtype=np.uint8)
    Image.fromarray(images[0]).save(encoded := io.BytesIO(), "PNG")
    table = pandas.DataFrame({"image": [encoded.getvalue(), *images]})
    embeddings = model.predict(table, params={"modality": "infrared", "trial": 2})
    assert embeddings.shape == (4, 6 * 16)
    np.testing.assert_allclose(embeddings[0], embeddings[1], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 6**0.5, rtol=1e-5)


def test_a_failed_run_leaves_no_mlflow_run_open(finished, tiny_config, tiny_data):
    folder, _ = finished
    options = RunOptions("fails", tiny_config, tiny_data, folder / "failed", trials=[1])
    with (
        pytest.raises(RuntimeError, match="lost"),
        open_run(options, Console(quiet=True)) as run,
    ):
        child = run.mlflow_run.child("stage", "stage", {})
        raise RuntimeError("lost")
    statuses = {client(folder).get_run(each.run_id).info.status for each in (run.mlflow_run, child)}
    assert statuses == {"FAILED"}
