"""The whole workflow on SYSU-MM01, LLCM and a table, from the command line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.support.file_access import counting
from tsme.config import DatasetName
from tsme.synthetic.generate import generate
from workflows import pipeline
from workflows.cli.main import main

# The presets are the paper's recipe at full size.
SMALL = [
    "dsgan.backbone.architecture=resnet10",
    "dsgan.backbone.weights=none",
    "dsgan.epochs=1",
    "reid.backbone.architecture=resnet10",
    "reid.backbone.weights=none",
]
LAYOUTS: tuple[DatasetName, ...] = ("sysu", "llcm", "csv")
SEARCHES = {
    "sysu": {f"{m}-search {s}-shot": 10 for m in ("all", "indoor") for s in ("single", "multi")},
    "llcm": {"visible-to-infrared": 10, "infrared-to-visible": 10},
    "csv": {"visible-to-infrared": 1, "infrared-to-visible": 1},
}


def call(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert not ended.value.code


def run_command(layout: str, data: Path, settings: list[str]) -> list[str]:
    words = ["run", "--preset", layout, "--data", str(data), "--out", "out"]
    return words + [part for pair in settings + SMALL for part in ("--set", pair)]


@pytest.fixture(
    scope="module",
    params=[pytest.param(layout, marks=[pytest.mark.slow] * (layout != "sysu")) for layout in LAYOUTS],
)
def finished(
    ray_here: None,
    tiny_settings: list[str],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[tuple[DatasetName, Path, Path]]:
    """A layout, its data, and the working folder with a finished run in out."""
    layout: DatasetName = request.param
    folder = tmp_path_factory.mktemp(layout)
    data = folder / "data"
    generate(data, layout=layout, identities=18, images=2, seed=1, size=(32, 64))
    data = data / "people.csv" if layout == "csv" else data
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        call(*run_command(layout, data, tiny_settings))
        yield layout, data, folder


def results(folder: Path, name: str = "out/results.json") -> dict:
    return json.loads((folder / name).read_text())


def test_a_run_evaluates_all_searches_of_the_protocol(finished):
    layout, _, folder = finished
    found = results(folder)
    assert found["dataset"] == layout and found["protocol"].startswith(f"{layout}: ")
    named = Counter(
        f"{row['mode']}-search {row['shots']}-shot" if row["mode"] else row["direction"]
        for row in found["trials"]
    )
    assert named == SEARCHES[layout] and set(found["summary"]) == set(named)
    for row in found["trials"]:
        assert row["trial"] == row["model_trial"] == 1 and row["seen_identities"] == 0
        assert 0 <= row["rank1"] <= row["rank5"] <= row["rank10"] <= row["rank20"] <= 1
        assert 0 < row["mINP"] <= 1 and 0 < row["mAP"] <= 1
        assert row["draw"] in (range(10) if layout != "csv" else (None,))
        assert row["drawn_by"] == ("" if layout == "csv" else "seed")


def test_the_model_is_registered_under_its_data_set(finished):
    layout, _, folder = finished
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    version = client.get_model_version_by_alias(f"tsme-{layout}", "champion")
    assert version.run_id == results(folder)["mlflow_run"]
    assert client.get_experiment_by_name(f"tsme-{layout}") is not None
    (evaluation,) = client.search_runs(
        [client.get_experiment_by_name(f"tsme-{layout}").experiment_id],
        "attributes.run_name = 'trial 01 stage 3 evaluation'",
    )
    for name, draws in SEARCHES[layout].items():
        history = client.get_metric_history(evaluation.info.run_id, f"{name}/mAP")
        assert sorted(point.step for point in history) == list(range(draws))


def test_the_registered_model_gives_the_same_figures(finished):
    layout, data, folder = finished
    weights = f"models:/tsme-{layout}@champion"
    call("test", "--dataset", layout, "--data", str(data), "--resume", weights, "--json", "again.json")
    assert results(folder, "again.json")["trials"] == results(folder)["trials"]


def test_flip_and_re_ranking_add_rows_to_the_plain_ones(finished, capsys):
    layout, data, folder = finished
    weights = str(folder / "out" / "stages")
    words = ["test", "--dataset", layout, "--data", str(data), "--resume", weights, "--json", "one.json"]
    words += ["--mode", "indoor", "--shots", "multi"] if layout == "sysu" else []
    words += ["--trial", "1" if layout == "csv" else "3", "--flip", "--rerank"]
    capsys.readouterr()
    call(*words)
    rows = results(folder, "one.json")["trials"]
    kinds = {(row["flip"], row["rerank"]) for row in rows}
    assert kinds == {(False, False), (True, False), (False, True), (True, True)}
    assert {row["draw"] for row in rows} == {None if layout == "csv" else 3}
    searches = 1 if layout == "sysu" else 2
    assert len(rows) == searches * 4
    plain = [row for row in rows if not (row["flip"] or row["rerank"])]
    assert all(row in results(folder)["trials"] for row in plain)
    printed = capsys.readouterr().out
    assert "Rank-20" in printed and "mINP" in printed


def test_another_evaluation_of_the_same_weights_trains_nothing(finished, tiny_settings):
    layout, data, folder = finished
    products = {path: path.stat().st_mtime_ns for path in (folder / "out/stages").glob("*.safetensors")}
    before = results(folder)
    others = ["--set", "evaluation.flip=true", "--set", "evaluation.draws=[0, 1]"]
    call(*run_command(layout, data, tiny_settings), "--resume", *others)
    after = results(folder)
    assert {path: path.stat().st_mtime_ns for path in products} == products
    assert {row["flip"] for row in after["trials"]} == {False, True}
    assert after["model"] == before["model"]
    again = [row for row in after["trials"] if not row["flip"]]
    assert again == [row for row in before["trials"] if row["draw"] in (None, 0, 1)]


@pytest.mark.parametrize("choice", [[], ["--trials", "1"]])
def test_damaged_gallery_draws_end_a_run_before_training(
    tiny_settings, tmp_path, monkeypatch, capsys, choice
):
    generate(tmp_path / "data", layout="sysu", identities=6, images=2, seed=0, size=(16, 32), workers=1)
    (tmp_path / "data" / "exp" / "rand_perm_cam.mat").write_bytes(b"no MATLAB")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*run_command("sysu", tmp_path / "data", tiny_settings), *choice])
    assert ended.value.code == 2 and "exp/rand_perm_cam.mat: cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_train_reads_data_once_and_prints_the_table_of_its_protocol(
    ray_here, tiny_settings, tmp_path, monkeypatch, capsys
):
    generate(tmp_path / "data", layout="sysu", identities=12, images=2, seed=0, size=(16, 32))
    monkeypatch.chdir(tmp_path)
    settings = [part for pair in tiny_settings + SMALL for part in ("--set", pair)]
    next_step = pipeline.pretrain_backbones

    def move_data(*arguments, **options) -> None:
        """After this, neither the command nor Ray's workers can read the data folder."""
        (tmp_path / "data").rename(tmp_path / "moved")
        next_step(*arguments, **options)

    monkeypatch.setattr(pipeline, "pretrain_backbones", move_data)
    with counting(tmp_path / "data") as (listed, opened):
        call("train", "--dataset", "sysu", "--data", "data", "--lr", "0.1", *settings)
    assert listed and set(listed.values()) == {1}, listed
    assert {count for path, count in opened.items() if path.endswith(".txt")} == {1}, opened
    printed = capsys.readouterr().out
    assert "Rank-20" in printed and "mINP" in printed and "indoor-search" in printed
    assert str(tmp_path / "runs" / "train-sysu-01" / "stages" / "trial01-") in printed
