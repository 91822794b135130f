"""First weights of a backbone, learnt from synthetic identities: for networks that ImageNet has no weights of.

A backbone that knows nothing needs more people than RegDB has before its streams agree on anything. So it
first learns, in both modalities at once, to tell apart people who are in no data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR

from tsme.config import BackboneConfig, ImageConfig
from tsme.data.datasets.registry import open_dataset
from tsme.data.images import decode
from tsme.data.transforms import Augmentation, exchange_channels, send, take, to_range
from tsme.data.types import MODALITIES, Modality
from tsme.models.backbone import Backbone, Normalise
from tsme.models.reid import FUSED_STRIPES, rows, stripes
from tsme.seeding import derive, generator
from tsme.storage.atomic import replacing
from tsme.storage.digest import digest
from tsme.storage.object_store import AnyPath
from tsme.training.distributed import Worker
from tsme.training.loop import EpochResult, fit

SEED = 7_305_112_869  # of people that no other seed in use draws


@dataclass(frozen=True)
class Recipe:
    """How the backbone is trained: SGD with one cycle of the learning rate, Smith and Topin, 2019."""

    identities: int = 200
    images: int = 5  # of each in either modality
    epochs: int = 20
    batch: int = 64
    lr: float = 0.1
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    channel_exchange: float = 0.5
    modalities: tuple[Modality, ...] = MODALITIES


RECIPES = {
    "synthetic": Recipe(),
    "synthetic-visible": Recipe(channel_exchange=0.0, modalities=("visible",)),
}


@dataclass(frozen=True)
class SyntheticWeights:
    """The weights of a backbone for images of one size; `file` is named by all that they depend on."""

    config: BackboneConfig
    image: ImageConfig
    recipe: Recipe

    @classmethod
    def of(cls, backbone: BackboneConfig, image: ImageConfig) -> SyntheticWeights | None:
        """What these weights stand for; None if they are not of synthetic identities."""
        recipe = RECIPES.get(backbone.weights)
        return None if recipe is None else cls(backbone, image, recipe)

    @property
    def key(self) -> str:
        """Ten hex digits."""
        shape = [self.config.architecture, self.config.width, self.image.model_dump()]
        return digest([SEED, shape, asdict(self.recipe)])

    def file(self, products: AnyPath) -> AnyPath:
        """Where the weights lie in a folder of finished stages."""
        return products / f"backbone-{self.key}.safetensors"


def read_people(
    data: Path, image: ImageConfig, modalities: Sequence[Modality] = MODALITIES
) -> tuple[Tensor, Tensor]:
    """All pictures of a data set in RegDB's layout, uint8 (n, 3, H, W), and who they show (n,)."""
    trial = open_dataset("regdb", data).trial(1)
    lists = [split[modality] for split in (trial.train, trial.test) for modality in modalities]
    files = [data / path for images in lists for path in images.paths]
    pictures = torch.from_numpy(np.stack(list(decode(files, image.height, image.width))))
    _, people = np.unique(np.concatenate([images.identities for images in lists]), return_inverse=True)
    return pictures, torch.from_numpy(people)


def pretrain(
    weights: SyntheticWeights, pictures: Tensor, people: Tensor, file: AnyPath, worker: Worker
) -> Iterator[EpochResult]:
    """Train the backbone on the output of `read_people`; after the last epoch, write it to `file`."""
    task = BackboneTask(weights, pictures, people, worker)
    yield from fit(task, worker)
    with replacing(file) as temporary:
        state = task.network.backbone.state_dict()
        save_file({name: value.cpu().contiguous() for name, value in state.items()}, temporary)


class Classifier(nn.Module):
    """A backbone, its six stripes side by side, and who it is: (B, 3, H, W) -> (B, K)."""

    def __init__(self, backbone: BackboneConfig, identities: int) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.backbone = Backbone(backbone.architecture, backbone.width)
        features = FUSED_STRIPES * self.backbone.channels[-1]
        self.norm = nn.BatchNorm1d(features)
        self.classify = nn.Linear(features, identities, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """Logits."""
        pieces = stripes(rows(self.backbone(self.normalise(image))[-1]), FUSED_STRIPES)  # (S, B, C)
        return self.classify(self.norm(pieces.transpose(0, 1).flatten(1)))


class BackboneTask:
    """Identity classification of synthetic identities by one backbone for both modalities."""

    stage = "backbone"
    lr_key: str | None = None  # a fixed recipe
    seed = SEED

    def __init__(
        self, weights: SyntheticWeights, pictures: Tensor, people: Tensor, worker: Worker
    ) -> None:
        recipe = self.recipe = weights.recipe
        self.padding, self.worker, self.epochs = weights.image.padding, worker, recipe.epochs
        (self.pictures,), self.people = worker.to_device_if_fits(pictures), people
        torch.manual_seed(derive(SEED, "backbone weights"))
        network = worker.wrap(Classifier(weights.config, int(people.max()) + 1))
        self.network = cast(Classifier, network)
        self.optimizer = SGD(
            self.network.parameters(),
            lr=recipe.lr,
            momentum=0.95,  # the cycle lowers it to 0.85 while the rate is high
            nesterov=True,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        steps = len(people) // recipe.batch * recipe.epochs
        self.schedule = OneCycleLR(self.optimizer, recipe.lr, total_steps=steps)
        self.random = generator(SEED, "backbone")

    def step_batches(self, epoch: int) -> Iterator[Tensor]:
        """Rows of a batch each, short of a last incomplete one."""
        self.random = generator(SEED, "backbone", epoch)
        batch = self.recipe.batch
        order = torch.randperm(len(self.people), generator=self.random)
        yield from order[: len(order) // batch * batch].split(batch)

    def step(self, batch: Tensor) -> dict[str, Tensor]:
        """One step of SGD."""
        drawn = Augmentation.draw(len(batch), self.padding, self.random)
        image = drawn.apply(take(self.pictures, batch.numpy()))
        image = exchange_channels(image, self.recipe.channel_exchange, self.random)
        device = self.worker.device
        logits = self.network(to_range(send(image, device)))
        labels = send(self.people[batch], device)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return {"total": loss.detach()}

    def end_epoch(self) -> dict[str, float]:
        """The learning rate as it stands."""
        return {"lr": float(self.schedule.get_last_lr()[0])}

    def preview(self) -> None:
        """This stage draws nothing."""

    def state(self) -> dict[str, Any]:
        """Nothing: the stage takes less time than it would be worth to go on with it."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Raises: this stage begins anew."""
        raise NotImplementedError("the training of a backbone is not continued, it begins anew")
