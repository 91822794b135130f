"""Pretraining of a backbone on synthetic identities, for architectures without ImageNet weights.

RegDB has too few identities to train a randomly initialised backbone. So the backbone first learns to
classify synthetic identities, in both modalities at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR

from tsme.config import BackboneConfig, ImageConfig
from tsme.data.datasets.registry import open_dataset
from tsme.data.image_cache import FORMAT
from tsme.data.images import decode
from tsme.data.transforms import Augmentation, exchange_channels, send, take, to_range
from tsme.data.types import MODALITIES, Modality
from tsme.models.backbone import Backbone, Normalise
from tsme.models.reid import rows, stripes
from tsme.seeding import derive, generator
from tsme.storage.digest import digest
from tsme.storage.object_store import AnyPath
from tsme.storage.tensors import save_tensors
from tsme.training import pretrained
from tsme.training.distributed import Worker
from tsme.training.loop import EpochResult, fit

SEED = 7_305_112_869  # no other synthetic data set uses it
STRIPES = 6  # of the last map, side by side


@dataclass(frozen=True)
class Recipe:
    """Data and settings: SGD with the one-cycle schedule of Smith and Topin, 2019."""

    identities: int = 500
    images: int = 6  # of each identity in each modality
    epochs: int = 20
    batch: int = 64
    lr: float = 0.1
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    channel_exchange: float = 0.5
    modalities: tuple[Modality, ...] = MODALITIES


RECIPES = {
    "synthetic": Recipe(),
    "synthetic-visible": Recipe(identities=200, images=5, channel_exchange=0.0, modalities=("visible",)),
}


@dataclass(frozen=True)
class SyntheticWeights:
    """Weights of a backbone pretrained on synthetic identities at one image size."""

    backbone: BackboneConfig
    image: ImageConfig
    recipe: Recipe

    @classmethod
    def of(cls, backbone: BackboneConfig, image: ImageConfig) -> SyntheticWeights | None:
        """The weights that a configuration asks for; None if they are not synthetic ones."""
        recipe = RECIPES.get(backbone.weights)
        return None if recipe is None else cls(backbone, image, recipe)

    @property
    def key(self) -> str:
        """Ten hex digits that name the weights by everything they depend on."""
        shape = [self.backbone.architecture, self.backbone.width, self.image.model_dump()]
        return digest([SEED, FORMAT, shape, asdict(self.recipe)])

    @property
    def name(self) -> str:
        """The name of the weights' file."""
        return f"backbone-{self.key}.safetensors"

    def file(self, folder: AnyPath) -> AnyPath:
        """The file of the weights: the one that comes with the package, else one in `folder`."""
        shipped = pretrained.FOLDER / self.name
        return shipped if shipped.is_file() else folder / self.name


def read_all_images(
    data: Path, size: ImageConfig, modalities: Sequence[Modality] = MODALITIES
) -> tuple[Tensor, Tensor]:
    """All images of a data set in RegDB's layout, uint8 (n, 3, H, W), and their class labels (n,)."""
    trial = open_dataset("regdb", data).trial(1)
    lists = [split[modality] for split in (trial.train, trial.test) for modality in modalities]
    files = [data / path for images in lists for path in images.paths]
    pixels = np.stack(list(decode(files, size.height, size.width)))
    identities = np.concatenate([images.identities for images in lists])
    _, labels = np.unique(identities, return_inverse=True)
    return torch.from_numpy(pixels), torch.from_numpy(labels)


def pretrain(
    weights: SyntheticWeights, images: Tensor, labels: Tensor, file: AnyPath, worker: Worker
) -> Iterator[EpochResult]:
    """Train on the output of `read_all_images`; after the last epoch, write the weights to `file`."""
    task = BackboneTask(weights, images, labels, worker)
    yield from fit(task, worker)
    save_tensors(file, task.network.backbone.state_dict())


class Classifier(nn.Module):
    """Identity logits from the six stripes of a backbone's last map: (B, 3, H, W) -> (B, K)."""

    def __init__(self, backbone: BackboneConfig, identities: int) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.backbone = Backbone(backbone.architecture, backbone.width)
        features = STRIPES * self.backbone.channels[-1]
        self.norm = nn.BatchNorm1d(features)
        self.classify = nn.Linear(features, identities, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        pieces = stripes(rows(self.backbone(self.normalise(image))[-1]), STRIPES)  # (S, B, C)
        return self.classify(self.norm(pieces.transpose(0, 1).flatten(1)))


class BackboneTask:
    """Classification of synthetic identities by one backbone for both modalities."""

    stage = "backbone"
    lr_key: str | None = None  # a fixed recipe
    seed = SEED

    def __init__(self, weights: SyntheticWeights, images: Tensor, labels: Tensor, worker: Worker) -> None:
        recipe = self.recipe = weights.recipe
        self.padding, self.worker, self.epochs = weights.image.padding, worker, recipe.epochs
        (self.images,), self.labels = worker.to_device_if_fits(images), labels
        torch.manual_seed(derive(SEED, "backbone weights"))
        network = worker.wrap(Classifier(weights.backbone, int(labels.max()) + 1))
        self.network = cast(Classifier, network)
        self.optimizer = SGD(
            self.network.parameters(),
            lr=recipe.lr,
            momentum=0.95,  # the schedule lowers it to 0.85 while the learning rate is high
            nesterov=True,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        steps = len(labels) // recipe.batch * recipe.epochs
        self.schedule = OneCycleLR(self.optimizer, recipe.lr, total_steps=steps)
        self.random = generator(SEED, "backbone")

    def step_batches(self, epoch: int) -> Iterator[Tensor]:
        """Rows of each batch; an incomplete last batch is left out."""
        self.random = generator(SEED, "backbone", epoch)
        batch = self.recipe.batch
        order = torch.randperm(len(self.labels), generator=self.random)
        yield from order[: len(order) // batch * batch].split(batch)

    def step(self, batch: Tensor) -> dict[str, Tensor]:
        """One step of SGD."""
        augmentation = Augmentation.draw(len(batch), self.padding, self.random)
        image = augmentation.apply(take(self.images, batch.numpy()))
        image = exchange_channels(image, self.recipe.channel_exchange, self.random)
        device = self.worker.device
        logits = self.network(to_range(send(image, device)))
        labels = send(self.labels[batch], device)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return {"total": loss.detach()}

    def end_epoch(self) -> dict[str, float]:
        """The current learning rate."""
        return {"lr": float(self.schedule.get_last_lr()[0])}

    def preview(self) -> None:
        """Pretraining has no preview."""

    def state(self) -> dict[str, Any]:
        """Nothing: the training is short, so an interrupted one starts again."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Not supported."""
        raise NotImplementedError("pretraining cannot be resumed; it starts again")
