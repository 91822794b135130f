"""An ablation on real Ray and MLflow: what it trains, measures and writes, and that it resumes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from PIL import Image
from rich.console import Console

from tests.support.synthetic_regdb import generate_regdb
from tsme.settings import override
from workflows.ablation import run_ablation
from workflows.run import RunOptions

pytestmark = pytest.mark.slow  # two minutes

SEEDS, SAMPLES = 2, 2
OVER = {
    "baseline": None,
    "grayscale copies": "baseline",
    "PwIF": "grayscale copies",
    "PwIF and IAI": "PwIF",
    "strong baseline": "baseline",
    "strong PwIF": "strong baseline",
    "strong": "strong PwIF",
}


def ablate(config, data: Path, out: Path, *, resume: bool = False) -> tuple[dict, str]:
    """The results and the printed text."""
    console = Console(record=True, width=160, file=open(os.devnull, "w"))  # noqa: SIM115
    options = RunOptions("ablate", config, data, out, trials=[1], samples=SAMPLES, resume=resume)
    return run_ablation(options, SEEDS, console), console.export_text()


@pytest.fixture(scope="module")
def finished(ray_here, tiny_config, tmp_path_factory):
    """Folder, configuration, results and text of a finished ablation on data with ground truth."""
    folder = tmp_path_factory.mktemp("ablate")
    data, before = folder / "regdb", Path.cwd()
    generate_regdb(data, identities=12, images=4, trials=1, seed=5, ground_truth=True)
    os.chdir(folder)
    # The paper's streams: a configuration that has the stronger recipe already gets no variants of it.
    paper = {"reid.share": "none", "reid.shared_norms": False, "reid.grayscale_visible": False}
    config = override(tiny_config, paper | {"reid.identities": 2})
    yield folder, config, *ablate(config, data, folder / "out")
    os.chdir(before)


def names(results: dict) -> list[str]:
    """The variants; the sweep's winner is one unless it is the configuration the sweep starts from."""
    known = results["sweep"]["samples"][0]["name"] == "sample-01"
    return list(OVER) if known else [*OVER, "sweep winner"]


def test_every_variant_is_measured_with_every_seed(finished):
    folder, _, results, _ = finished
    assert json.loads((folder / "out" / "ablation.json").read_text()) == results
    assert list(results["samples"]) == list(results["variants"]) == names(results)
    models = set()
    for seeds in results["samples"].values():
        assert len(seeds) == SEEDS
        for rows in seeds:
            plain = [row for row in rows if not row["flip"] and not row["rerank"]]
            assert {row["direction"] for row in plain} == {"visible-to-infrared", "infrared-to-visible"}
            assert all(row["seen_identities"] == 0 and row["queries"] == 6 * 4 for row in rows)
            models |= {row["model"] for row in rows}
    assert len(models) == len(names(results)) * SEEDS, "each with weights of its own"
    strong = results["samples"]["strong"][0]
    assert {(row["flip"], row["rerank"]) for row in strong} == {(f, r) for f in (0, 1) for r in (0, 1)}


def test_gains_are_over_the_variant_before(finished):
    lines = finished[2]["summary"]
    over = {line["variant"]: line["over"] for line in lines if " with " not in line["protocol"]}
    assert over == {name: OVER.get(name, "PwIF and IAI") for name in names(finished[2])}


def test_generators_are_scored_beside_trivial_translations(finished):
    scores = finished[2]["generators"]
    assert {"DSGAN", "DSGAN without skips", "grayscale copy", "histogram matching"} <= set(scores)
    measured = {f"{m}_{t}" for m in ("psnr", "ssim", "frechet") for t in ("infrared", "visible")}
    assert all(set(one) == measured for seeds in scores.values() for one in seeds)
    (scoring,) = [step for step in finished[2]["timeline"] if step["step"] == "score translations"]
    assert scoring["seconds"] > 0
    assert scores["DSGAN"][0] != scores["DSGAN"][1] != scores["DSGAN without skips"][1]


def test_mlflow_has_a_run_for_every_training_and_the_plot(finished):
    folder, _, results, _ = finished
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    parent = client.get_run(results["mlflow_run"])
    found = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    runs = {run.info.run_name for run in found}
    assert {run.info.status for run in found} == {"FINISHED"}
    for seed in range(SEEDS):
        assert {f"seed {seed} {variant} stage 2 reid" for variant in names(results)} <= runs
        assert f"seed {seed} DSGAN without skips stage 1 dsgan" in runs
        assert f"seed {seed} baseline stage 1 dsgan" not in runs
    assert {"ablation.json", "ablation.png"} <= {
        f.path for f in client.list_artifacts(parent.info.run_id)
    }
    assert Image.open(folder / "out" / "ablation.png").width > 600
    (sample,) = [run for run in found if run.info.run_name == "sweep sample-01"]
    assert "ssim_infrared" in sample.data.metrics, "held-out identities, whose truth is known"


def test_resuming_trains_and_measures_nothing_again(finished):
    folder, config, results, printed = finished
    assert "without early stopping, 4" in printed
    files = {f: f.stat().st_mtime_ns for f in (folder / "out" / "stages").iterdir()}
    again, text = ablate(config, folder / "regdb", folder / "out", resume=True)
    assert {f: f.stat().st_mtime_ns for f in (folder / "out" / "stages").iterdir()} == files
    for part in ("samples", "summary", "generators", "sweep"):
        assert again[part] == results[part]
    assert f"train: 0 of {SEEDS * len(names(results))} variants" in text
