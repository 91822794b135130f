"""Repeating stage 2 of a finished run with translations made in other ways."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.benchmarks import accuracy
from tests.support.synthetic_regdb import generate_regdb
from tsme.config import Config, EvaluationConfig
from tsme.data.datasets.registry import open_dataset
from tsme.data.fingerprint import fingerprint
from tsme.data.image_cache import ImageCache
from tsme.data.transforms import Augmentation
from tsme.data.types import MODALITIES, ImageList, Split
from tsme.evaluation.evaluator import embed_trial, score_search, translate_split
from tsme.evaluation.protocols import searches
from tsme.models.checkpoint import load_model
from tsme.models.dsgan import Generators
from tsme.settings import override
from tsme.training.distributed import Worker
from tsme.training.reid import Pixels
from tsme.training.stages import run_stages
from tsme.training.trial import TrialTraining

CPU = torch.device("cpu")


@pytest.fixture
def training(tiny: Config, tmp_path: Path) -> TrialTraining:
    """A finished trial of synthetic identities, in the folder of a run."""
    generate_regdb(tmp_path / "data", identities=8, images=2, seed=1)
    config = override(tiny, {"dsgan.epochs": 1, "reid.epochs": 2})
    dataset = open_dataset(config.dataset, tmp_path / "data")
    pixels = ImageCache(dataset, fingerprint(dataset), config.image.height, config.image.width)
    training = TrialTraining(config, 1, dataset.trial(1).train, None, pixels, tmp_path / "run" / "stages")
    list(run_stages(training, Worker()))
    results = {
        "config": config.model_dump(mode="json"),
        "data": str(dataset.root),
        "data_fingerprint": pixels.fingerprint,
        "trials": [{"trial": 1}, {"trial": 1}],
    }
    (tmp_path / "run" / "results.json").write_text(json.dumps(results))
    return training


def test_stored_translations_give_the_figures_of_the_run(training: TrialTraining, tmp_path: Path, capsys):
    file = tmp_path / "outcomes.json"
    assert accuracy.main([str(tmp_path / "run"), "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    outcomes = {outcome["way"]: outcome for outcome in json.loads(file.read_text())["outcomes"]}
    assert set(outcomes) == set(accuracy.WAYS)
    assert all(way in printed for way in accuracy.WAYS)
    trial = training.images.dataset.trial(1)
    model = load_model(training.model_file, CPU)
    embeddings = embed_trial(model, training.images.split(trial.test), CPU, flips=[False])[False]
    required = searches(training.images.dataset, trial, EvaluationConfig())
    assert len(required) == 2
    measured = [score_search(embeddings, trial.test, search) for search in required]
    assert outcomes["stored"]["mAP"] == np.mean([metrics.mAP for metrics in measured])
    assert outcomes["stored"]["rank1"] == np.mean([metrics.rank(1) for metrics in measured])
    assert all(outcome["seconds"] > 0 and outcome["trial"] == 1 for outcome in outcomes.values())


def test_other_images_and_folders_without_a_run_are_refused(
    training: TrialTraining, tmp_path: Path, capsys
):
    assert accuracy.main([str(tmp_path)]) == 1
    assert "no results.json" in capsys.readouterr().err
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    (tmp_path / "run" / "results.json").write_text(json.dumps(results | {"data_fingerprint": "other"}))
    assert accuracy.main([str(tmp_path / "run"), "--ways", "stored"]) == 1
    assert "not the images" in capsys.readouterr().err


@pytest.fixture
def translated(tiny: Config, noise, tmp_path: Path):
    """translated(way, augmentation): infrared translations of twelve visible images, in one way."""
    torch.manual_seed(1)
    names, ids = tuple(map(str, range(12))), np.repeat(np.arange(4), 3)
    split = Split(*(ImageList(m, names, ids, np.ones_like(ids)) for m in MODALITIES))
    generators = Generators(tiny.dsgan).eval()
    images = {"visible": noise(12, 1), "infrared": noise(12, 2)}
    stored = translate_split(generators, images, CPU)

    def make(way: str, augmentation: Augmentation) -> Tensor:
        task = accuracy.Repeated(tiny, split, Pixels(images, stored), Worker())
        task.translate_by(way, generators)
        return task._translated("visible", np.arange(12), augmentation)

    return make


def test_ways_of_translating_differ_as_documented(translated):
    still = Augmentation(2, torch.full((12,), 2), torch.full((12,), 2), torch.zeros(12).bool())
    one, *others = [translated(way, still) for way in accuracy.WAYS]
    assert all(torch.equal(one, other) for other in others)

    mirror = Augmentation(2, still.top, still.left, torch.arange(12) % 2 == 0)
    of_mirrored = translated("new", mirror)
    assert torch.equal(of_mirrored, translated("both-flips", mirror))
    same = (of_mirrored == translated("stored", mirror)).flatten(1).all(1)
    assert torch.equal(same, ~mirror.mirror)

    shifted = Augmentation(2, torch.zeros(12).long(), still.left, still.mirror)
    new, black = translated("new", shifted), translated("new-black", shifted)
    assert new[:, :, :2].any() and not black[:, :, :2].any()
    assert torch.equal(new[:, :, 2:], black[:, :, 2:])
    assert not torch.equal(black, translated("stored", shifted))
