"""Stage 2: train the four-stream network on images and their stored translations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    LinearLR,
    LRScheduler,
    MultiStepLR,
)

from tsme.config import Config
from tsme.data.images import grayscale
from tsme.data.samplers import IdentitySampler, Pair
from tsme.data.transforms import (
    Augmentation,
    draw_erased,
    erase,
    exchange_channels,
    send,
    take,
    to_range,
)
from tsme.data.types import MODALITIES, Modality, Split, class_labels
from tsme.losses import reid_losses
from tsme.models.reid import TsmeNet
from tsme.seeding import derive, generator
from tsme.training.distributed import Worker, unwrap_model


@dataclass(frozen=True)
class Pixels:
    """Images of a split and their translations, if any, by modality: uint8 (n, 3, H, W) each."""

    images: dict[Modality, Tensor]
    translations: dict[Modality, Tensor] | None


class ReidTask:
    """The re-identification network of one trial.

    `validate`, if given, measures the network on held-out identities; it runs on the main worker.
    """

    stage = "reid"
    lr_key: str | None = "reid.optimizer.lr"

    def __init__(
        self,
        config: Config,
        split: Split,
        pixels: Pixels,
        worker: Worker,
        validate: Callable[[TsmeNet], dict[str, float]] | None = None,
    ) -> None:
        settings = config.reid
        self.settings, self.worker, self.validate = settings, worker, validate
        self.padding = config.image.padding
        self.epochs, self.seed = settings.epochs, config.seed
        self.precision = worker.precision(settings.precision)
        sources = [s for s in (pixels.images, pixels.translations) if s is not None]
        loaded = iter(worker.to_device_if_fits(*(source[m] for source in sources for m in MODALITIES)))
        self.images = {m: next(loaded) for m in MODALITIES}
        self.translations = {m: next(loaded) for m in MODALITIES} if pixels.translations else None
        identities = split.identities
        self.labels: dict[Modality, NDArray[Any]] = {
            "visible": class_labels(split.visible, identities),
            "infrared": class_labels(split.infrared, identities),
        }
        self.sampler = IdentitySampler(
            self.labels["visible"],
            self.labels["infrared"],
            # With fewer training identities than a batch takes, batches are smaller.
            identities=max(2, min(settings.identities, len(identities) // worker.world_size)),
            images=settings.images,
            seed=config.seed,
            rank=worker.rank,
            world_size=worker.world_size,
        )
        torch.manual_seed(derive(config.seed, "reid weights"))
        self.network = worker.wrap(TsmeNet(settings, len(identities)))
        self.optimizer = build_optimizer(cast(TsmeNet, unwrap_model(self.network)), config)
        self.schedule = build_schedule(self.optimizer, config)
        self.random = generator(config.seed, "reid")

    def step_batches(self, epoch: int) -> Iterator[Pair]:
        """Rows of identity batches; also starts the epoch's own random stream."""
        self.random = generator(self.seed, "reid", epoch, self.worker.rank)
        return self.sampler.epoch(epoch)

    def _load(self, modality: Modality, rows: NDArray[Any]) -> tuple[Tensor, Tensor | None, Tensor]:
        """Images and translations (B, 3, H, W), cropped, mirrored and erased alike; labels (B,)."""
        settings = self.settings
        if settings.exchanged_copies and modality == "visible":
            rows = np.concatenate([rows, rows])  # unchanged, then with exchanged channels
        augmentation = Augmentation.draw(len(rows), self.padding, self.random)
        plain = augmentation.apply(take(self.images[modality], rows))
        both = [self._recolored(plain, modality)]
        if settings.translation == "grayscale":
            both.append(grayscale(plain))
        elif settings.translation == "dsgan":
            both.append(self._translated(modality, rows, augmentation))
        if settings.erasing:
            erased = draw_erased(both[0], settings.erasing, self.random)
            both = [erase(x, erased) for x in both]
        image, *translation = [to_range(send(x, self.worker.device)) for x in both]
        labels = send(torch.from_numpy(self.labels[modality][rows]), self.worker.device)
        return image, translation[0] if translation else None, labels

    def _recolored(self, images: Tensor, modality: Modality) -> Tensor:
        """Images (B, 3, H, W) after the colour augmentations, which are not applied to translations."""
        settings = self.settings
        if settings.exchanged_copies and modality == "visible":
            half = len(images) // 2
            copies = exchange_channels(images[half:], 1.0, self.random)
            images = torch.cat([images[:half], copies])
        elif settings.exchanged_copies:  # half of them, as CAJ does
            images = exchange_channels(images, 0.5, self.random)
        if modality == "visible" and settings.channel_exchange:
            images = exchange_channels(images, settings.channel_exchange, self.random)
        return images

    def _translated(self, modality: Modality, rows: NDArray[Any], augmentation: Augmentation) -> Tensor:
        """DSGAN's stored translations (B, 3, H, W), cropped and mirrored as their images are."""
        assert self.translations is not None
        return augmentation.apply(take(self.translations[modality], rows))

    def step(self, batch: Pair) -> dict[str, Tensor]:
        """One step of SGD on both modalities' images."""
        visible, visible_translated, visible_labels = self._load("visible", batch[0])
        infrared, infrared_translated, infrared_labels = self._load("infrared", batch[1])
        with self.worker.autocast(self.precision):
            outputs = self.network(visible, visible_translated, infrared, infrared_translated)
        terms = reid_losses(outputs, visible_labels, infrared_labels, self.settings.loss)
        self.optimizer.zero_grad()
        terms["total"].backward()
        self.optimizer.step()
        return {name: term.detach() for name, term in terms.items()}

    def end_epoch(self) -> dict[str, float]:
        """Step the learning-rate schedule; validate on the held-out identities, if any."""
        metrics = {"lr": float(self.schedule.get_last_lr()[-1])}
        self.schedule.step()
        if self.validate is not None and self.worker.is_main:
            metrics |= self.validate(cast(TsmeNet, unwrap_model(self.network)))
        self.worker.barrier()
        return metrics

    def preview(self) -> None:
        """Stage 2 has no preview."""

    def state(self) -> dict[str, Any]:
        """Weights, optimiser and schedule."""
        return {
            "network": unwrap_model(self.network).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        unwrap_model(self.network).load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])


def build_schedule(optimizer: SGD, config: Config) -> ChainedScheduler:
    """The schedule of the learning rates, by epoch: a linear warm-up, then steps down."""
    settings = config.reid.optimizer
    parts: list[LRScheduler] = [MultiStepLR(optimizer, list(settings.milestones), settings.decay)]
    if settings.warmup > 1:  # 1/n, 2/n, ... of the rates, the full rates in epoch n
        parts.append(LinearLR(optimizer, 1 / settings.warmup, total_iters=settings.warmup - 1))
    return ChainedScheduler(parts, optimizer)


def build_optimizer(network: TsmeNet, config: Config) -> SGD:
    """SGD with two groups: the streams at `backbone_factor` x lr, the heads at lr."""
    settings = config.reid.optimizer
    streams = list(network.streams.parameters())
    known = {id(parameter) for parameter in streams}
    heads = [p for p in network.parameters() if id(p) not in known]
    groups: list[dict[str, Any]] = [
        {"params": streams, "lr": settings.lr * settings.backbone_factor},
        {"params": heads},
    ]
    return SGD(
        groups,
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=True,
        fused=True,  # one pass over the weights instead of five
    )
