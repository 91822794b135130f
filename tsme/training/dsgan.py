"""Stage 1: train DSGAN's generators on unpaired visible and infrared images in grayscale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from tsme.config import Config
from tsme.data.images import grayscale
from tsme.data.samplers import Pair, unpaired_epoch
from tsme.data.transforms import Augmentation, send, take, to_pixels, to_range
from tsme.data.types import MODALITIES, Modality
from tsme.evaluation.evaluator import translate_split
from tsme.evaluation.image_quality import HeldOutImages, collapse_reason
from tsme.losses import discriminator_loss, generator_losses
from tsme.models.dsgan import Discriminators, Generators
from tsme.numerics import reproducible, upcast_bf16
from tsme.outputs import Scores, Translations
from tsme.seeding import derive, generator
from tsme.training.distributed import Worker, unwrap_model
from tsme.training.image_pool import ImagePool
from tsme.training.loop import Diverged

PREVIEW_ROWS = 4
# Images of each modality that measure a preview's batch-norm statistics. All of SYSU-MM01's would
# lengthen an epoch by a tenth.
PREVIEW_STATISTICS = 256


def evenly_spaced(images: Tensor) -> Tensor:
    """At most PREVIEW_STATISTICS of the images (n, ...)."""
    return images[:: max(1, -(-len(images) // PREVIEW_STATISTICS))]


class DsganTask:
    """The generators of one trial. `visible` and `infrared`, in grayscale, are uint8 (n, 3, H, W).

    Translations of the images `held_out` are scored, and shown in the preview, after every epoch.
    """

    stage = "dsgan"
    lr_key: str | None = "dsgan.optimizer.lr"

    def __init__(
        self,
        config: Config,
        visible: Tensor,
        infrared: Tensor,
        worker: Worker,
        held_out: HeldOutImages | None = None,
    ) -> None:
        settings = config.dsgan
        self.settings, self.worker, self.held_out = settings, worker, held_out
        self.epochs, self.seed = settings.epochs, config.seed
        self.precision = worker.precision(settings.precision)
        self.visible, self.infrared = worker.to_device_if_fits(visible, infrared)
        torch.manual_seed(derive(config.seed, "dsgan weights"))
        self.generators = worker.wrap(Generators(settings))
        self.discriminators = worker.wrap(Discriminators(settings.discriminator_width))
        betas = (settings.optimizer.beta1, settings.optimizer.beta2)
        self.optimizers = [
            Adam(network.parameters(), lr=settings.optimizer.lr, betas=betas, fused=True)
            for network in (self.generators, self.discriminators)
        ]
        self.schedules = [LambdaLR(optimizer, self._lr_factor) for optimizer in self.optimizers]
        self.pools = [ImagePool(settings.image_pool), ImagePool(settings.image_pool)]
        self.random = generator(config.seed, "dsgan")

    def _lr_factor(self, epochs_done: int) -> float:
        """1 for the first half of the epochs, then linearly to 0 just after the last (CycleGAN)."""
        half = self.epochs // 2
        return 1.0 - max(0, epochs_done + 1 - half) / (self.epochs - half + 1)

    def step_batches(self, epoch: int) -> Iterator[Pair]:
        """Rows of unpaired images; also starts the epoch's own random stream."""
        self.random = generator(self.seed, "dsgan", epoch, self.worker.rank)
        return unpaired_epoch(
            len(self.visible),
            len(self.infrared),
            batch=self.settings.batch,
            seed=self.seed,
            epoch=epoch,
            rank=self.worker.rank,
            world_size=self.worker.world_size,
        )

    def _load(self, images: Tensor, rows: Any) -> Tensor:
        """Some of the images (B, 3, H, W) in [-1, 1], mirrored at random."""
        mirrored = Augmentation.draw(len(rows), 0, self.random)
        return to_range(send(mirrored.apply(take(images, rows)), self.worker.device))

    def step(self, batch: Pair) -> dict[str, Tensor]:
        """Freeze the discriminators, step the generators; unfreeze, step the discriminators."""
        visible, infrared = self._load(self.visible, batch[0]), self._load(self.infrared, batch[1])
        discriminators = cast(Discriminators, unwrap_model(self.discriminators))
        generator_optimizer, discriminator_optimizer = self.optimizers

        self.discriminators.requires_grad_(False)
        with self.worker.autocast(self.precision):
            made = self.generators(visible, infrared)
            translations = Translations._make(x if x is None else upcast_bf16(x) for x in made)
            scores = (
                upcast_bf16(discriminators.visible(translations.fake_visible)),
                upcast_bf16(discriminators.infrared(translations.fake_infrared)),
            )
        terms = generator_losses(translations, visible, infrared, *scores, self.settings.loss)
        generator_optimizer.zero_grad()
        terms["total"].backward()
        generator_optimizer.step()

        self.discriminators.requires_grad_(True)
        fakes = [translations.fake_visible, translations.fake_infrared]
        pooled = [pool.exchange(x, self.random) for pool, x in zip(self.pools, fakes, strict=True)]
        with self.worker.autocast(self.precision):
            all_scores = self.discriminators(visible, pooled[0], infrared, pooled[1])
        loss = discriminator_loss(Scores(*map(upcast_bf16, all_scores)))
        discriminator_optimizer.zero_grad()
        loss.backward()
        discriminator_optimizer.step()
        return {name: term.detach() for name, term in terms.items()} | {"discriminator": loss.detach()}

    def end_epoch(self) -> dict[str, float]:
        """Lower the learning rates; measure translations of the held-out identities, if any.

        Raises Diverged if a generator has collapsed.
        """
        metrics = {"lr": float(self.schedules[0].get_last_lr()[0])}
        for schedule in self.schedules:
            schedule.step()
        networks = cast(Generators, unwrap_model(self.generators))
        self._raise_if_collapsed(networks)
        if self.worker.is_main and self.held_out is not None:
            self._measure_norms(networks, self.visible, self.infrared)
            translations = translate_split(networks, self.held_out.images, self.worker.device)
            metrics |= self.held_out.score(translations, self.worker.device)
        elif self.worker.is_main:
            self._measure_norms(networks, *map(evenly_spaced, (self.visible, self.infrared)))
        return metrics

    def _raise_if_collapsed(self, networks: Generators) -> None:
        why = ""
        if self.worker.is_main:
            images: dict[Modality, Tensor] = {"visible": self.visible, "infrared": self.infrared}
            why = collapse_reason(networks, images, self.worker.device)
        if self.worker.broadcast(bool(why)):
            raise Diverged(
                f"dsgan: after epoch {self.schedules[0].last_epoch} {why or 'a generator collapsed'}; "
                "lower dsgan.optimizer.lr or raise dsgan.loss.cycle"
            )

    @torch.no_grad()
    def preview(self) -> Tensor:
        """A picture (3, 4 H, 6 or 8 W): four visible, then four infrared images, translated and back.

        They are of held-out identities if there are any. A ground truth, if known, comes before the image
        translated back. Batch norms use the statistics that `end_epoch` has measured: those of the frozen
        generators, or close to them if there are more than PREVIEW_STATISTICS images and none held out.
        """
        networks = cast(Generators, unwrap_model(self.generators)).eval()
        held_out = self.held_out
        ground_truths = held_out.ground_truths if held_out is not None else {}
        shown = held_out.images if held_out else {"visible": self.visible, "infrared": self.infrared}
        columns: list[Tensor] = []
        for modality, there, back in (
            (MODALITIES[0], networks.visible_to_infrared, networks.infrared_to_visible),
            (MODALITIES[1], networks.infrared_to_visible, networks.visible_to_infrared),
        ):
            images = shown[modality]
            rows = torch.linspace(0, len(images) - 1, min(PREVIEW_ROWS, *map(len, shown.values()))).long()
            image = to_range(grayscale(images[rows])).to(self.worker.device)
            fake = there(image)
            columns += [image, fake]
            if modality in ground_truths:
                columns.append(to_range(grayscale(ground_truths[modality][rows])).to(fake))
            columns.append(back(fake))
        networks.train()
        return to_pixels(torch.cat([torch.cat(list(c), dim=1) for c in columns], dim=2)).cpu()

    def generators_for_use(self) -> Generators:
        """The generators in evaluation mode, with batch-norm statistics of the images they translate."""
        networks = cast(Generators, unwrap_model(self.generators))
        self._measure_norms(networks, self.visible, self.infrared)
        return networks.eval().requires_grad_(False)

    @torch.no_grad()
    def _measure_norms(self, networks: Generators, visible: Tensor, infrared: Tensor) -> None:
        """Replace the running statistics, which training does not use; the networks end in training mode.

        In training a generator is also given generated images and images of its target modality. With
        running statistics of that mixture it would translate real images worse, so they are computed
        again in one pass over training images of its source modality, uint8 (n, 3, H, W).
        """
        networks.eval()
        for images, network in (
            (visible, networks.visible_to_infrared),
            (infrared, networks.infrared_to_visible),
        ):
            norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
            momenta = [norm.momentum for norm in norms]
            for norm in norms:
                norm.train().reset_running_stats()
            chunks = -(-len(images) // 64)
            measured = 0
            for first in range(chunks):
                chunk = images[first::chunks]  # strided: images of an identity are next to each other
                measured += len(chunk)
                for norm in norms:
                    norm.momentum = len(chunk) / measured  # all images have the same weight
                with reproducible(self.worker.device, "float32"):  # as translations are made
                    network(to_range(send(chunk, self.worker.device)))
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
        networks.train()

    def state(self) -> dict[str, Any]:
        """Weights, optimisers, schedules and every worker's pools."""
        return {
            "generators": unwrap_model(self.generators).state_dict(),
            "discriminators": unwrap_model(self.discriminators).state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedules": [schedule.state_dict() for schedule in self.schedules],
            "pools": self.worker.gather([[x.cpu() for x in pool.images] for pool in self.pools]),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        unwrap_model(self.generators).load_state_dict(state["generators"])
        unwrap_model(self.discriminators).load_state_dict(state["discriminators"])
        for optimizer, values in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        for schedule, values in zip(self.schedules, state["schedules"], strict=True):
            schedule.load_state_dict(values)
        for pool, images in zip(self.pools, state["pools"][self.worker.rank], strict=True):
            pool.images = [image.to(self.worker.device) for image in images]
