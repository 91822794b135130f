"""The folder of a finished run, written without training: embeddings are drawn around identities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsme.config import Config
from tsme.data.image_cache import ImageCache
from tsme.data.types import MODALITIES, Modality, Trial
from tsme.evaluation.evaluator import score_search
from tsme.evaluation.features import Embeddings
from tsme.evaluation.inspection import TranslatedImage, encode, inspect_trial
from tsme.evaluation.protocols import DESCRIPTIONS, searches
from tsme.evaluation.results import EvaluationResult, summarise
from tsme.models.checkpoint import Provenance
from tsme.storage.atomic import write_json

DIMENSIONS = 24
KEY = "0123456789"


def draw_embeddings(trial: Trial, noise: float, seed: int) -> Embeddings:
    """Embeddings (n, DIMENSIONS) of length 1 by modality: an identity's direction, and noise."""
    drawn: dict[Modality, Any] = {}
    for number, modality in enumerate(MODALITIES):
        random = np.random.default_rng([seed, number])
        centres = {
            identity: np.random.default_rng([7, identity]).normal(size=DIMENSIONS)
            for identity in trial.test.all_identities
        }
        exact = np.array([centres[int(i)] for i in trial.test[modality].identities])
        vectors = exact + 0.6 * number + noise * random.normal(size=exact.shape)
        drawn[modality] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return drawn


def translations(images: ImageCache, trial: Trial) -> dict[Modality, list[TranslatedImage]]:
    """Images that stand in for translations: the image darker, and the image itself."""
    made: dict[Modality, list[TranslatedImage]] = {}
    for modality in MODALITIES:
        chosen = trial.test[modality].take(np.arange(4))
        made[modality] = [
            TranslatedImage(
                path=path,
                image=encode(image),
                translation=encode(255 - image),
                ground_truth=encode(image // 2),
                back=encode(image),
            )
            for path, image in zip(chosen.paths, images.load(chosen), strict=True)
        ]
    return made


def history(name: str, began: float, terms: Mapping[str, list[float]]) -> dict[str, Any]:
    """An entry of history.json: ten seconds an epoch."""
    curves = {
        term: {"epochs": list(range(1, len(values) + 1)), "values": values}
        for term, values in terms.items()
    }
    epochs = len(next(iter(terms.values())))
    return {
        "name": name,
        "place": "host-a, CPU",
        "began": began,
        "ended": began + 10 * epochs,
        "curves": curves,
    }


def write_run(folder: Path, config: Config, images: ImageCache, trials: list[int]) -> dict[str, Any]:
    """Write what a run of these trials leaves, and return the content of results.json."""
    torch.set_num_threads(1)
    rows: list[EvaluationResult] = []
    for number in trials:
        trial = images.dataset.trial(number)
        embeddings = draw_embeddings(trial, noise=1.6 + 0.1 * number, seed=number)
        protocol = searches(images.dataset, trial, config.evaluation)
        origin = Provenance(config=config, trial=number, train_identities=(), fingerprint="f", key=KEY)
        for search in protocol:
            metrics = score_search(embeddings, trial.test, search)
            rows.append(EvaluationResult.of(metrics, search, trial, origin, flip=False, rerank=False))
        inspection = inspect_trial(embeddings, translations(images, trial), images, trial, KEY, protocol)
        file = folder / "stages" / f"inspection-trial{number:02d}-{KEY}.json"
        write_json(file, inspection.model_dump(mode="json"))
    results = _results(config, rows)
    write_json(folder / "results.json", results)
    write_json(folder / "history.json", _histories(config, trials, results["validation"]["samples"]))
    return results


def _results(config: Config, rows: list[EvaluationResult]) -> dict[str, Any]:
    values = {"reid.optimizer.lr": 0.05, "reid.loss.hetero_centre": 0.5, "dsgan.loss.cycle": 10.0}
    tried = list(enumerate(values.items()))
    samples = [
        {
            "name": f"sample-{n:02d}",
            "values": {key: value * (1 + 0.7 * (n * (i + 2) % 5)) for i, (key, value) in tried},
            "score": 0.6 - 0.04 * n,
            "epoch": min(n + 1, config.reid.epochs),
            "epochs": max(2, config.reid.epochs - n),
        }
        for n in range(5)
    ]  # fmt: skip
    return {
        "dataset": config.dataset,
        "protocol": DESCRIPTIONS[config.dataset],
        "config": config.model_dump(mode="json"),
        "data": "/data/some-folder",
        "data_fingerprint": "5f2c1e9a77",
        "validation": {
            "set": "ab12",
            "mAP": samples[0]["score"],
            "best_epoch": samples[0]["epoch"],
            "epochs_trained": sum(sample["epochs"] for sample in samples),
            "epochs_in_full": len(samples) * config.reid.epochs,
            "samples": samples,
            "importance": {},
        },
        "trials": [row.to_json() for row in rows],
        "summary": summarise(rows),
        "command": "tsme run --preset demo --data /data/some-folder",
        "git_revision": "a" * 40,
        "versions": {"tsme": "0.1.0", "python": "3.11", "torch": "2.8.0"},
        "machine": {"host": "host-a", "system": "Linux", "cpus": "2 x x86_64"},
        "mlflow_run": "c0ffee",
        "mlflow_uri": "sqlite:////runs/mlflow.db",
        "timeline": [
            {"step": "start", "seconds": 7.1},
            {"step": "train: 2 of 2 trials", "seconds": 185.0},
        ],
        "model": {"name": "tsme-demo", "version": 3, "decision": "champion: the first version"},
    }


def _histories(config: Config, trials: list[int], samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    entries = []
    for sample in samples:
        curve = [sample["score"] * (1 - 0.5**epoch) for epoch in range(1, sample["epochs"] + 1)]
        entries.append(history(f"sweep {sample['name']}", 1000.0, {"val_mAP": curve}))
    for trial in trials:
        began = 1100.0 + 60 * (trial // 2)
        stage1 = {f"loss/{term}": [trial * 0.1 + 1 / epoch for epoch in range(1, 4)]
                  for term in ("total", "adversarial", "cycle", "identity", "discriminator")}  # fmt: skip
        entries.append(history(f"trial {trial:02d} stage 1 dsgan", began, stage1))
        stage2 = {f"loss/{term}": [trial * 0.1 + 5 / epoch for epoch in range(1, 7)]
                  for term in ("total", "fused_identity", "fused_centre", "real_identity",
                               "translated_identity", "centre_triplet")}  # fmt: skip
        entries.append(history(f"trial {trial:02d} stage 2 reid", began + 30, stage2))
    return entries
