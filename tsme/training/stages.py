"""Both stages of one trial, one after the other, as a single iterator of epochs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

from tsme.data.images import grayscale
from tsme.data.types import MODALITIES, Modality, Split
from tsme.evaluation.evaluator import translate_split, validate
from tsme.evaluation.image_quality import FeatureExtractor, HeldOutImages
from tsme.models.backbone import build_backbone
from tsme.models.checkpoint import (
    Provenance,
    TrialModel,
    load_generators,
    save_generators,
    save_model,
)
from tsme.models.dsgan import Generators
from tsme.models.reid import TsmeNet
from tsme.training.distributed import Worker, unwrap_model
from tsme.training.dsgan import DsganTask
from tsme.training.loop import EpochResult, fit
from tsme.training.reid import Pixels, ReidTask
from tsme.training.trial import TrialTraining


def run_stages(
    training: TrialTraining, worker: Worker, checkpoint: dict[str, Any] | None = None
) -> Iterator[EpochResult]:
    """Train the stages whose files do not exist, continuing from an `EpochResult.checkpoint` if given.

    An epoch's result is yielded before its stage's file is written, so a caller that stops reading
    (a stopped sweep sample) leaves no unfinished result.
    """
    images = training.images.split(training.train)
    if "dsgan" in training.stages and not worker.broadcast(training.generators_file.is_file()):
        yield from _train_generators(training, images, worker, checkpoint)
    worker.barrier()  # the main worker writes the file that all workers read next
    if "reid" in training.stages and not worker.broadcast(training.model_file.is_file()):
        yield from _train_model(training, images, worker, checkpoint)
    worker.barrier()


def _train_generators(
    training: TrialTraining,
    images: dict[Modality, Tensor],
    worker: Worker,
    checkpoint: dict[str, Any] | None,
) -> Iterator[EpochResult]:
    # In chunks: converting SYSU-MM01 to grayscale at once would take tens of gigabytes of floats.
    inputs = {m: torch.cat([grayscale(chunk) for chunk in images[m].split(256)]) for m in MODALITIES}
    held_out = None
    if training.validation is not None and worker.is_main:
        held_out = HeldOutImages.read(training.validation, training.images, _frechet_features(training))
    with training.with_local_weights("dsgan") as config:
        task = DsganTask(config, inputs["visible"], inputs["infrared"], worker, held_out)
    yield from fit(task, worker, done=_resume(task, checkpoint))
    generators = task.generators_for_use()
    if worker.is_main:
        translations = translate_split(generators, images, worker.device)
        save_generators(training.generators_file, generators, translations)


def _train_model(
    training: TrialTraining,
    images: dict[Modality, Tensor],
    worker: Worker,
    checkpoint: dict[str, Any] | None,
) -> Iterator[EpochResult]:
    generators, translations = None, None
    if training.config.reid.translation == "dsgan":
        file = training.generators_file
        generators, translations = load_generators(file, training.config, worker.device)
    validation = None
    if training.validation is not None and worker.is_main:
        validation = _Validation(training, training.validation, generators, worker)
    with training.with_local_weights("reid") as config:
        task = ReidTask(config, training.train, Pixels(images, translations), worker, validation)
    yield from fit(task, worker, done=_resume(task, checkpoint))
    if worker.is_main and training.validation is None:  # a model trained for validation is not kept
        network = cast(TsmeNet, unwrap_model(task.network))
        save_model(training.model_file, TrialModel(_provenance(training), network, generators))


def _resume(task: DsganTask | ReidTask, checkpoint: dict[str, Any] | None) -> int:
    """Restore the task if the checkpoint is of its stage; returns the number of epochs done."""
    if checkpoint is None or checkpoint["stage"] != task.stage:
        return 0
    task.load_state(checkpoint["task"])
    return int(checkpoint["epoch"])


def _frechet_features(training: TrialTraining) -> dict[Modality, FeatureExtractor]:
    """Stage 2's pretrained backbone, for Fréchet distances; none if it starts from random weights."""
    if training.config.reid.backbone.weights == "none":
        return {}
    with training.with_local_weights("reid") as config:
        features = FeatureExtractor.of_backbone(build_backbone(config.reid.backbone))
    return dict.fromkeys(MODALITIES, features)


def _provenance(training: TrialTraining) -> Provenance:
    return Provenance(
        config=training.config,
        trial=training.trial,
        train_identities=tuple(training.train.identities),
        fingerprint=training.images.fingerprint,
        key=training.model_key,
    )


class _Validation:
    """Measures a network on held-out identities, whose images are translated once."""

    def __init__(
        self, training: TrialTraining, split: Split, generators: Generators | None, worker: Worker
    ) -> None:
        self.split, self.device, self.dataset = split, worker.device, training.config.dataset
        self.images = training.images.split(split)
        self.translations = None
        if generators is not None:
            self.translations = translate_split(generators, self.images, worker.device)

    def __call__(self, network: TsmeNet) -> dict[str, float]:
        return validate(network, self.images, self.translations, self.split, self.dataset, self.device)
