"""The training of one trial: its inputs, its stages, and the files it writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from tsme.config import BackboneConfig, Config
from tsme.data.image_cache import FORMAT, ImageCache
from tsme.data.types import Split
from tsme.errors import UserError
from tsme.models.backbone import weights_digest
from tsme.settings import override
from tsme.storage.atomic import reading
from tsme.storage.object_store import AnyPath
from tsme.training.pretrain import SyntheticWeights

Stage = Literal["dsgan", "reid"]


@dataclass(frozen=True)
class TrialTraining:
    """Everything one trial's training depends on.

    `train` holds the identities trained on. `validation` holds other identities of the same training
    list while a configuration is being chosen, else None. `folder` keeps the results of finished
    stages. With `only_generators`, training ends after stage 1.

    A result's file is named by its key, a digest of everything it depends on, so a stage whose file
    exists never runs again. Keys and paths are computed once, when the object is made.
    """

    config: Config
    trial: int
    train: Split
    validation: Split | None
    images: ImageCache
    folder: AnyPath
    only_generators: bool = False

    stages: tuple[Stage, ...] = field(init=False)
    generators_key: str = field(init=False)
    model_key: str = field(init=False)
    generators_file: AnyPath = field(init=False)
    model_file: AnyPath = field(init=False)

    def __post_init__(self) -> None:
        generators_key, model_key = self._generators_key(), self._model_key()
        computed = {
            "stages": self._stages(),
            "generators_key": generators_key,
            "model_key": model_key,
            "generators_file": self.folder / f"generators-{generators_key}.safetensors",
            "model_file": self.folder / f"trial{self.trial:02d}-{model_key}.safetensors",
        }
        for name, value in computed.items():
            object.__setattr__(self, name, value)  # as the class is frozen

    @property
    def result_file(self) -> AnyPath:
        """The file that the last stage writes."""
        return self.generators_file if self.only_generators else self.model_file

    def is_done(self) -> bool:
        """Whether the last stage's file exists."""
        return self.result_file.is_file()

    @contextmanager
    def with_local_weights(self, stage: Stage) -> Iterator[Config]:
        """The configuration, with synthetic backbone weights as a file on this machine.

        Raises UserError if the weights have not been trained yet.
        """
        synthetic = SyntheticWeights.of(self._backbone(stage), self.config.image)
        if synthetic is None:
            yield self.config
            return
        file = synthetic.file(self.folder)
        if not file.is_file():
            raise UserError(f"{file}: no such backbone; tsme.training.pretrain.pretrain makes it")
        with reading(file) as local:
            yield override(self.config, {f"{stage}.backbone.weights": str(local)})

    def _stages(self) -> tuple[Stage, ...]:
        """Only DSGAN's translations need stage 1."""
        if self.only_generators:
            return ("dsgan",)
        return ("dsgan", "reid") if self.config.reid.translation == "dsgan" else ("reid",)

    def _generators_key(self) -> str:
        return self._digest("dsgan", weights=self._weights_key("dsgan"))

    def _model_key(self) -> str:
        validation = [] if self.validation is None else self.validation.identities
        stage1 = self._generators_key() if self.config.reid.translation == "dsgan" else self._digest()
        weights = self._weights_key("reid")
        return self.config.digest("reid", stage1=stage1, validation=validation, weights=weights)

    def _digest(self, *sections: str, **inputs: object) -> str:
        """Digest of the data, the seed, these sections of the configuration and `inputs`."""
        return self.config.digest(
            "dataset", "seed", "image", *sections,
            trial=self.trial, data=self.images.fingerprint, identities=self.train.identities,
            workers=self.config.resources.workers, pixels=FORMAT, **inputs,
        )  # fmt: skip

    def _weights_key(self, stage: Stage) -> str:
        """Name of a backbone's initial weights."""
        backbone = self._backbone(stage)
        synthetic = SyntheticWeights.of(backbone, self.config.image)
        return weights_digest(backbone) if synthetic is None else synthetic.key

    def _backbone(self, stage: Stage) -> BackboneConfig:
        backbone: BackboneConfig = getattr(self.config, stage).backbone
        return backbone
