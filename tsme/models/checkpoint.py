"""One trial's trained model in one safetensors file: network, generators, and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from tsme.config import BackboneConfig, Config
from tsme.data.types import MODALITIES, Modality
from tsme.errors import UserError
from tsme.models.dsgan import Generators
from tsme.models.inference import folded
from tsme.models.reid import TsmeNet
from tsme.models.sharing import load_unique_state, unique_state
from tsme.storage.object_store import AnyPath
from tsme.storage.tensors import load_tensors, read_header, save_tensors

FORMAT = "tsme-3"  # before: embeddings after the activation, images resized bilinearly


class Provenance(BaseModel):
    """Where a trial's weights come from; saved in the file's header.

    `train_identities` are the true identities trained on, `fingerprint` names the data.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: Config
    trial: Annotated[int, Field(ge=1)]
    train_identities: tuple[int, ...]
    fingerprint: str
    key: str


@dataclass(frozen=True)
class TrialModel:
    """A trained network, its frozen generators if it uses any, and where they come from."""

    provenance: Provenance
    network: TsmeNet
    generators: Generators | None

    def ready(self) -> TrialModel:
        """A copy for repeated use: batch norms are folded now, not at every call."""
        generators = None if self.generators is None else folded(self.generators)
        return replace(self, network=folded(self.network), generators=generators)


def save_model(path: AnyPath, model: TrialModel) -> None:
    """Write the model to a file, whole or not at all."""
    tensors = _with_prefix(model.network, "network")
    if model.generators is not None:
        tensors |= _with_prefix(model.generators, "generators")
    header = {"format": FORMAT, "provenance": model.provenance.model_dump_json()}
    save_tensors(path, tensors, header)


def load_model(path: AnyPath, device: torch.device) -> TrialModel:
    """Read a model file strictly. Raises UserError if it is missing, of another kind, or damaged."""
    provenance = read_provenance(path)  # first: files of other versions have no digest
    tensors, _ = load_tensors(path)
    config = _without_pretrained(provenance.config)
    network = TsmeNet(config.reid, len(provenance.train_identities))
    generators = Generators(config.dsgan) if config.reid.translation == "dsgan" else None
    for name, module in (("network", network), ("generators", generators)):
        if module is None:
            continue
        try:
            load_unique_state(module, _without_prefix(tensors, name))
        except RuntimeError as error:
            raise UserError(f"{path}: weights do not fit its configuration: {error}") from None
        module.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return TrialModel(provenance, network, generators)


def read_provenance(path: AnyPath) -> Provenance:
    """The header alone. Raises UserError as `load_model` does."""
    header = read_header(path)
    if header.get("format") != FORMAT:
        raise UserError(f"{path}: not a TSME trial model of the format {FORMAT}")
    try:
        return Provenance.model_validate_json(header["provenance"])
    except (KeyError, ValidationError) as error:
        raise UserError(f"{path}: not a TSME trial model of this version ({error})") from None


def save_generators(
    path: AnyPath, generators: Generators, translations: Mapping[Modality, Tensor]
) -> None:
    """Write stage 1's result: the generators, and the training images' translations by modality."""
    tensors = _with_prefix(generators, "generators") | {f"images.{k}": v for k, v in translations.items()}
    save_tensors(path, tensors)


def load_generators(
    path: AnyPath, config: Config, device: torch.device
) -> tuple[Generators, dict[Modality, Tensor]]:
    """Read what `save_generators` wrote: frozen generators and translations by modality.

    Raises UserError if the file is missing or damaged.
    """
    tensors, _ = load_tensors(path)
    generators = Generators(_without_pretrained(config).dsgan)
    load_unique_state(generators, _without_prefix(tensors, "generators"))
    translations = {modality: tensors[f"images.{modality}"] for modality in MODALITIES}
    return generators.to(device).eval().requires_grad_(False), translations


def _without_pretrained(config: Config) -> Config:
    """The configuration without pretrained weights, which the loaded ones would replace."""

    def without_weights(backbone: BackboneConfig) -> BackboneConfig:
        return backbone.model_copy(update={"weights": "none"})

    dsgan = config.dsgan.model_copy(update={"backbone": without_weights(config.dsgan.backbone)})
    reid = config.reid.model_copy(update={"backbone": without_weights(config.reid.backbone)})
    return config.model_copy(update={"dsgan": dsgan, "reid": reid})


def _with_prefix(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in unique_state(module).items()}


def _without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = prefix + "."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
