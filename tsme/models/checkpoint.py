"""One trial's trained model in one safetensors file: network, translators, and what they were made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tsme.config import Backbone, Config
from tsme.data.types import MODALITIES, Modality
from tsme.errors import UserError
from tsme.models.dsgan import Translators
from tsme.models.inference import folded
from tsme.models.reid import TsmeNet
from tsme.storage.atomic import reading, replacing
from tsme.storage.object_store import AnyPath

FORMAT = "tsme-1"


class Origin(BaseModel):
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
    """A trained network, its frozen translators if it uses any, and where they come from."""

    origin: Origin
    network: TsmeNet
    translators: Translators | None

    def ready(self) -> TrialModel:
        """For many calls: batch norms folded once, not at every call."""
        translators = None if self.translators is None else folded(self.translators)
        return replace(self, network=folded(self.network), translators=translators)


def save_model(path: AnyPath, model: TrialModel) -> None:
    """Write the file, whole or not at all."""
    tensors = _named(model.network, "network")
    if model.translators is not None:
        tensors |= _named(model.translators, "translators")
    header = {"format": FORMAT, "origin": model.origin.model_dump_json()}
    with replacing(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, header)


def load_model(path: AnyPath, device: torch.device) -> TrialModel:
    """Read the file strictly. Raises UserError if it is missing, of another kind, or damaged."""
    with _opened(path) as file:
        origin, tensors = _origin(path, file), _tensors(file)
    config = _untrained(origin.config)
    network = TsmeNet(config.reid, len(origin.train_identities))
    translators = Translators(config.dsgan) if config.reid.pwif else None
    for name, module in (("network", network), ("translators", translators)):
        if module is None:
            continue
        try:
            module.load_state_dict(_under(tensors, name))
        except RuntimeError as error:
            raise UserError(f"{path}: weights do not fit its configuration: {error}") from None
        module.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return TrialModel(origin, network, translators)


def read_origin(path: AnyPath) -> Origin:
    """The header alone. Raises UserError as `load_model` does."""
    with _opened(path) as file:
        return _origin(path, file)


def _origin(path: AnyPath, file: Any) -> Origin:
    header = file.metadata() or {}
    if header.get("format") != FORMAT:
        raise UserError(f"{path}: not a TSME trial model of the format {FORMAT}")
    try:
        return Origin.model_validate_json(header["origin"])
    except (KeyError, ValidationError) as error:
        raise UserError(f"{path}: not a TSME trial model of this version ({error})") from None


def save_translators(
    path: AnyPath, translators: Translators, translations: Mapping[Modality, Tensor]
) -> None:
    """Write stage 1's result: the translators, and the training images' translations by modality."""
    tensors = _named(translators, "translators") | {f"images.{k}": v for k, v in translations.items()}
    with replacing(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary)


def load_translators(
    path: AnyPath, config: Config, device: torch.device
) -> tuple[Translators, dict[Modality, Tensor]]:
    """Read what `save_translators` wrote: frozen translators and translations by modality."""
    with _opened(path) as file:
        tensors = _tensors(file)
    translators = Translators(_untrained(config).dsgan)
    translators.load_state_dict(_under(tensors, "translators"))
    translations = {modality: tensors[f"images.{modality}"] for modality in MODALITIES}
    return translators.to(device).eval().requires_grad_(False), translations


def _untrained(config: Config) -> Config:
    """The configuration with nothing to fetch for weights that are about to be replaced."""

    def bare(backbone: Backbone) -> Backbone:
        return backbone.model_copy(update={"weights": "none"})

    dsgan = config.dsgan.model_copy(update={"backbone": bare(config.dsgan.backbone)})
    reid = config.reid.model_copy(update={"backbone": bare(config.reid.backbone)})
    return config.model_copy(update={"dsgan": dsgan, "reid": reid})


@contextmanager
def _opened(path: AnyPath) -> Iterator[Any]:
    """A safetensors file to read from; UserError if it is missing or damaged."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with reading(path) as local, safe_open(local, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file, or damaged ({error})") from None


def _tensors(file: Any) -> dict[str, Tensor]:
    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no iterator


def _named(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in module.state_dict().items()}


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = prefix + "."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
