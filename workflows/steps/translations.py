"""Score translations of the test identities against real images and, where known, ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import ray
import torch
from torch import Tensor, nn

from tsme.config import ResourcesConfig
from tsme.data.image_cache import ImageCache
from tsme.data.images import grayscale
from tsme.data.types import MODALITIES, Modality, Trial, other
from tsme.errors import failure
from tsme.evaluation.evaluator import translate_split
from tsme.evaluation.image_quality import FeatureExtractor, HeldOutImages, match_histogram
from tsme.models.checkpoint import load_generators, load_model
from tsme.models.streams import Stream
from tsme.storage.atomic import read_json, write_json
from tsme.training.trial import TrialTraining
from workflows.cluster.resources import worker_task
from workflows.run import WorkflowRun

TranslationScores = dict[str, list[dict[str, float]]]  # by generator, a dictionary per seed
GRAYSCALE, MATCHED = "grayscale copy", "histogram matching"  # translations without a network


def score_translations(
    run: WorkflowRun,
    generators: Mapping[str, Sequence[TrialTraining]],
    baseline: TrialTraining,
    trial: Trial,
) -> TranslationScores:
    """Scores by the generators' name, one entry per seed, and those of the two trivial translations.

    Fréchet distances are measured in features of the `baseline`'s real streams, because a model trained
    without translations favours no generator. Scores are stored in files; a resumed run reads them.
    """
    methods: dict[str, Sequence[TrialTraining | str]] = {
        **generators,
        **{name: [name] for name in (GRAYSCALE, MATCHED)},
    }
    files = {
        name: [
            run.out / "stages" / f"translations-{_key(each)}-{baseline.model_key}.json" for each in seeds
        ]
        for name, seeds in methods.items()
    }
    resources = run.config.resources
    score = worker_task(_score, resources)
    with run.step("score translations"):
        tasks = {
            file: score.remote(each, baseline, run.images, trial, resources)
            for name, seeds in methods.items()
            for each, file in zip(seeds, files[name], strict=True)
            if not file.exists()
        }
        for file, task in tasks.items():
            try:
                write_json(file, ray.get(task))
            except ray.exceptions.RayError as error:
                raise failure(error, "scoring translations") from None
    return {name: [read_json(file) for file in each] for name, each in files.items()}


def _key(method: TrialTraining | str) -> str:
    return method.generators_key if isinstance(method, TrialTraining) else method.replace(" ", "-")


def _score(
    method: TrialTraining | str,
    baseline: TrialTraining,
    images: ImageCache,
    trial: Trial,
    resources: ResourcesConfig,
) -> dict[str, float]:
    torch.set_num_threads(resources.cpus)
    device = torch.device("cuda" if resources.gpus else "cpu")
    network = load_model(baseline.model_file, device).network
    streams = {m: cast(nn.ModuleList, network.streams[m]) for m in MODALITIES}
    features = {m: FeatureExtractor.of_stream(cast(Stream, real)) for m, (real, *_) in streams.items()}
    held_out = HeldOutImages.read(trial.test, images, features)
    if isinstance(method, TrialTraining):
        networks, _ = load_generators(method.generators_file, method.config, device)
        translations = translate_split(networks, held_out.images, device)
    else:
        train = images.split(trial.train)
        translations = {m: _trivial(method, held_out.images[m], train, m) for m in MODALITIES}
    return held_out.score(translations, device)


def _trivial(method: str, images: Tensor, train: Mapping[Modality, Tensor], modality: Modality) -> Tensor:
    """Grayscale copies, or images matched to the histogram of the other modality's training images."""
    if method == GRAYSCALE:
        return grayscale(images)
    return match_histogram(images, train[other(modality)])
