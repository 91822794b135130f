"""Both stages of one trial, one after the other, as a single stream of epochs.

Stage 1's result and the trained model are files named by a digest of all they depend on, so a stage
whose file exists is never run again, in whatever run it is met.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from tsme.config import BackboneConfig, Config, override
from tsme.data.image_cache import ImageCache
from tsme.data.images import grayscale
from tsme.data.types import MODALITIES, Modality, Split
from tsme.errors import UserError
from tsme.evaluation.evaluator import translate_split, validate
from tsme.evaluation.image_quality import Features, HeldOut
from tsme.models.backbone import build_backbone, weights_digest
from tsme.models.checkpoint import (
    Provenance,
    TrialModel,
    load_generators,
    save_generators,
    save_model,
)
from tsme.models.dsgan import Generators
from tsme.models.reid import TsmeNet
from tsme.storage.atomic import reading
from tsme.storage.object_store import AnyPath
from tsme.training.distributed import Worker, unwrap_model
from tsme.training.dsgan import DsganTask
from tsme.training.loop import EpochResult, Stage, fit, timed
from tsme.training.pretrain import SyntheticWeights
from tsme.training.reid import Pixels, ReidTask


@dataclass(frozen=True)
class Chain:
    """What one trial's training depends on.

    `train` are the people learnt from; `validation`, while the configuration is being chosen, others
    held out of the same training list. `pixels` has their images, `products` is the folder of finished
    stages. `only_generators` ends after stage 1.
    """

    config: Config
    trial: int
    train: Split
    validation: Split | None
    pixels: ImageCache
    products: AnyPath
    only_generators: bool = False

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is trained: a network without translations needs no generators."""
        if self.only_generators:
            return ("dsgan",)
        return ("dsgan", "reid") if self.config.reid.pwif else ("reid",)

    @property
    def dsgan_key(self) -> str:
        """Name of stage 1's result."""
        return self._digest("dsgan", weights=self._weights(self.config.dsgan.backbone))

    def _digest(self, *sections: str, **inputs: object) -> str:
        """Names what comes of this trial's people with these sections of the configuration."""
        return self.config.digest(
            "dataset", "seed", "image", *sections,
            trial=self.trial, data=self.pixels.fingerprint, people=self.train.identities,
            workers=self.config.resources.workers, **inputs,
        )  # fmt: skip

    @property
    def key(self) -> str:
        """Name of the trained model: of all that it depends on."""
        validation = [] if self.validation is None else self.validation.identities
        weights = self._weights(self.config.reid.backbone)
        before = self.dsgan_key if self.config.reid.pwif else self._digest()
        return self.config.digest("reid", stage1=before, validation=validation, weights=weights)

    def _weights(self, backbone: BackboneConfig) -> str:
        """Names a backbone's first weights."""
        drawn = SyntheticWeights.of(backbone, self.config.image)
        return weights_digest(backbone) if drawn is None else drawn.key

    @contextmanager
    def initialised(self, stage: Stage) -> Iterator[Config]:
        """The configuration, with a stage's drawn backbone as a file of this machine.

        Raises UserError if it is not there.
        """
        backbone: BackboneConfig = getattr(self.config, stage).backbone
        drawn = SyntheticWeights.of(backbone, self.config.image)
        if drawn is None:
            yield self.config
            return
        file = drawn.file(self.products)
        if not file.is_file():
            raise UserError(f"{file}: no such backbone; tsme.training.pretrain.pretrain makes it")
        with reading(file) as local:
            yield override(self.config, {f"{stage}.backbone.weights": str(local)})

    @property
    def generators_file(self) -> AnyPath:
        """Where stage 1's result lies."""
        return self.products / f"generators-{self.dsgan_key}.safetensors"

    @property
    def model_file(self) -> AnyPath:
        """Where the trained model lies."""
        return self.products / f"trial{self.trial:02d}-{self.key}.safetensors"

    @property
    def product(self) -> AnyPath:
        """What the last stage asked for leaves."""
        return self.generators_file if self.only_generators else self.model_file

    @property
    def done(self) -> bool:
        """Whether it is there."""
        return self.product.is_file()


def run_chain(
    chain: Chain, worker: Worker, checkpoint: dict[str, Any] | None = None
) -> Iterator[EpochResult]:
    """Train what is not there yet, continuing from an `EpochResult.checkpoint` if one is given.

    An epoch's result is yielded before the stage's file is written, so that whoever interrupts the
    stream (a stopped sweep sample) leaves no unfinished result.
    """
    return timed(_stages(chain, worker, checkpoint))


def _stages(chain: Chain, worker: Worker, checkpoint: dict[str, Any] | None) -> Iterator[EpochResult]:
    images = chain.pixels.split(chain.train)
    if "dsgan" in chain.stages and not worker.broadcast(chain.generators_file.is_file()):
        yield from _dsgan(chain, images, worker, checkpoint)
    worker.barrier()  # for the leading worker's file
    if "reid" in chain.stages and not worker.broadcast(chain.model_file.is_file()):
        yield from _reid(chain, images, worker, checkpoint)
    worker.barrier()


def _resume(task: DsganTask | ReidTask, checkpoint: dict[str, Any] | None) -> int:
    """Epochs already done by this stage, after taking back its state."""
    if checkpoint is None or checkpoint["stage"] != task.stage:
        return 0
    task.load_state(checkpoint["task"])
    return int(checkpoint["epoch"])


def _dsgan(
    chain: Chain,
    images: dict[Modality, Tensor],
    worker: Worker,
    checkpoint: dict[str, Any] | None,
) -> Iterator[EpochResult]:
    # Some at a time: turning to grayscale all at once would take tens of gigabytes of floats on SYSU-MM01.
    visible = torch.cat([grayscale(some) for some in images["visible"].split(256)])
    held = None
    if chain.validation is not None and worker.is_main:
        held = HeldOut.read(chain.validation, chain.pixels, _features(chain))
    with chain.initialised("dsgan") as config:
        task = DsganTask(config, visible, images["infrared"], worker, held)
    yield from fit(task, worker, done=_resume(task, checkpoint))
    generators = task.generators_for_use()
    if worker.is_main:
        translations = translate_split(generators, images, worker.device)
        save_generators(chain.generators_file, generators, translations)


def _features(chain: Chain) -> dict[Modality, Features]:
    """What translations are compared in before stage 2: its backbone, if the first weights know anything."""
    if chain.config.reid.backbone.weights == "none":
        return {}
    with chain.initialised("reid") as config:
        features = Features.of_backbone(build_backbone(config.reid.backbone))
    return dict.fromkeys(MODALITIES, features)


def _reid(
    chain: Chain,
    images: dict[Modality, Tensor],
    worker: Worker,
    checkpoint: dict[str, Any] | None,
) -> Iterator[EpochResult]:
    generators, translations = None, None
    if chain.config.reid.pwif:
        file = chain.generators_file
        generators, translations = load_generators(file, chain.config, worker.device)
    validation = None
    if chain.validation is not None and worker.is_main:
        validation = _Validation(chain, chain.validation, generators, worker)
    with chain.initialised("reid") as config:
        task = ReidTask(config, chain.train, Pixels(images, translations), worker, validation)
    yield from fit(task, worker, done=_resume(task, checkpoint))
    if worker.is_main and chain.validation is None:  # a validated model is measured, not kept
        network = cast(TsmeNet, unwrap_model(task.network))
        provenance = Provenance(
            config=chain.config,
            trial=chain.trial,
            train_identities=tuple(chain.train.identities),
            fingerprint=chain.pixels.fingerprint,
            key=chain.key,
        )
        save_model(chain.model_file, TrialModel(provenance, network, generators))


class _Validation:
    """Measures a network on held-out identities, whose images are translated once."""

    def __init__(self, chain: Chain, split: Split, generators: Generators | None, worker: Worker) -> None:
        self.split, self.device, self.dataset = split, worker.device, chain.config.dataset
        self.images = chain.pixels.split(split)
        self.translations = None
        if generators is not None:
            self.translations = translate_split(generators, self.images, worker.device)

    def __call__(self, network: TsmeNet) -> dict[str, float]:
        return validate(network, self.images, self.translations, self.split, self.dataset, self.device)
