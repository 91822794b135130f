"""Both stages' steps and extraction as published: generators online, losses and optimisers as loops.

Shapes: B images of one modality, E embedding. Images are float (B, 3, H, W) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.benchmarks.reference.networks import (
    PlainDiscriminators,
    PlainReid,
    PlainTranslators,
)
from tsme.config import Config, ReidLossConfig
from tsme.data.images import grayscale
from tsme.data.transforms import to_range
from tsme.data.types import Modality
from tsme.seeding import generator
from tsme.training.image_pool import ImagePool

BATCH = 64  # images described at once


def hetero_centre(
    visible: Tensor, infrared: Tensor, visible_labels: Tensor, infrared_labels: Tensor, margin: float
) -> Tensor:
    """Hetero-centre loss (Zhu et al., Neurocomputing 2020) of embeddings (B, E), person by person."""
    total = visible.new_zeros(())
    for person in visible_labels.unique().tolist():
        ours, theirs = visible[visible_labels == person], infrared[infrared_labels == person]
        if len(theirs):
            difference = F.normalize(ours).mean(0) - F.normalize(theirs).mean(0)
            distance = difference.pow(2).sum()
            if distance.item() > margin:
                total = total + distance - margin
    return total


def reference_losses(
    outputs: Mapping[str, tuple[Iterable[Tensor], Iterable[Tensor]]],
    visible_labels: Tensor,
    infrared_labels: Tensor,
    weights: ReidLossConfig,
) -> dict[str, Tensor]:
    """Terms of stage 2 by kind of head and their weighted sum `total`, in the outputs' own precision.

    `outputs` holds embeddings and logits of the heads by kind, visible images first.
    """
    labels, count = torch.cat([visible_labels, infrared_labels]), len(visible_labels)
    terms: dict[str, Tensor] = {}
    for kind, (embeddings, logits) in outputs.items():
        identity, centre = [], []
        for embedding, scores in zip(embeddings, logits, strict=True):
            identity.append(F.cross_entropy(scores, labels))
            sides = embedding[:count], embedding[count:]
            centre.append(hetero_centre(*sides, visible_labels, infrared_labels, weights.margin))
        terms[f"{kind}_identity"] = torch.stack(identity).sum()
        terms[f"{kind}_centre"] = torch.stack(centre).sum()
    weighted = [
        getattr(weights, kind)
        * (terms[f"{kind}_identity"] + weights.hetero_centre * terms[f"{kind}_centre"])
        for kind in outputs
    ]
    return terms | {"total": torch.stack(weighted).sum()}


class ReidTraining:
    """Stage 2 with both generators inside every step."""

    def __init__(self, config: Config, identities: int, device: torch.device) -> None:
        self.config = config
        self.network = PlainReid(config.reid, identities).to(device)
        self.generators = PlainTranslators(config.dsgan).to(device)
        self.restart()

    def restart(self) -> None:
        """Begin with fresh optimiser state."""
        settings = self.config.reid.optimizer
        streams = [p for name, p in self.network.named_parameters() if name.startswith("streams")]
        heads = [p for name, p in self.network.named_parameters() if not name.startswith("streams")]
        groups: list[dict[str, Any]] = [
            {"params": streams, "lr": settings.lr * settings.backbone_factor},
            {"params": heads},
        ]
        self.optimizer = torch.optim.SGD(
            groups,
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=True,
        )

    def step(
        self, visible: Tensor, visible_grayscale: Tensor, infrared: Tensor, labels: tuple[Tensor, Tensor]
    ) -> dict[str, float]:
        """Translate both ways with generators in training mode, then learn."""
        self.generators.train()
        with torch.no_grad():
            visible_translated = self.generators.visible_to_infrared(visible_grayscale)
            infrared_translated = self.generators.infrared_to_visible(grayscale(infrared))
        return self.learn((visible, visible_translated), (infrared, infrared_translated), labels)

    def learn(
        self,
        visible: tuple[Tensor, Tensor],
        infrared: tuple[Tensor, Tensor],
        labels: tuple[Tensor, Tensor],
    ) -> dict[str, float]:
        """A step of SGD on images and their translations; the terms of its loss."""
        self.network.train()
        outputs = self.network(*visible, *infrared)
        terms = reference_losses(outputs, *labels, self.config.reid.loss)
        self.optimizer.zero_grad()
        terms["total"].backward()
        self.optimizer.step()
        return {name: term.item() for name, term in terms.items()}


@torch.no_grad()
def describe(
    network: PlainReid, generators: PlainTranslators, images: Tensor, modality: Modality
) -> Tensor:
    """Embeddings (n, 6 E) of uint8 images (n, 3, H, W), translated on the way.

    As published, both generators translate every batch, and one of the translations is used.
    """
    network.eval()
    generators.eval()
    device = next(network.parameters()).device
    chunks = []
    for chunk in images.split(BATCH):
        real, shades = to_range(chunk).to(device), to_range(grayscale(chunk)).to(device)
        infrared, visible = generators.visible_to_infrared(shades), generators.infrared_to_visible(shades)
        used = infrared if modality == "visible" else visible
        chunks.append(network.embed(real, used, modality).cpu())
    return torch.cat(chunks)


@torch.no_grad()
def describe_stored(
    network: PlainReid, images: Tensor, translations: Tensor, modality: Modality
) -> Tensor:
    """Embeddings (n, 6 E) of uint8 images and given translations, (n, 3, H, W) each."""
    network.eval()
    device = next(network.parameters()).device
    real, translated = (to_range(x).to(device) for x in (images, translations))
    return network.embed(real, translated, modality).cpu()


class DsganTraining:
    """Stage 1 as CycleGAN is trained (Zhu et al., ICCV 2017)."""

    def __init__(self, config: Config, device: torch.device) -> None:
        self.config = config
        self.generators = PlainTranslators(config.dsgan).to(device)
        self.discriminators = PlainDiscriminators(config.dsgan.discriminator_width).to(device)
        self.restart()

    def restart(self) -> None:
        """Begin with fresh optimiser state and no earlier translations."""
        settings, networks = self.config.dsgan.optimizer, (self.generators, self.discriminators)
        self.optimizers = [
            torch.optim.Adam(
                network.parameters(),
                lr=settings.lr,
                betas=(settings.beta1, settings.beta2),
            )
            for network in networks
        ]
        self.pools = [ImagePool(self.config.dsgan.image_pool) for _ in networks]
        self.random = generator(self.config.seed, "reference")

    def step(self, visible: Tensor, infrared: Tensor) -> dict[str, float]:
        """Generators, whose gradients also reach the discriminators; then the discriminators."""
        visible_to_infrared, infrared_to_visible = (
            self.generators.visible_to_infrared,
            self.generators.infrared_to_visible,
        )
        discriminators, weights = self.discriminators, self.config.dsgan.loss
        generator_optimizer, discriminator_optimizer = self.optimizers

        generator_optimizer.zero_grad()
        fake_infrared = visible_to_infrared(visible)
        fake_visible = infrared_to_visible(infrared)
        adversarial = _least_squares(discriminators.visible(fake_visible), 1.0)
        adversarial = adversarial + _least_squares(discriminators.infrared(fake_infrared), 1.0)
        cycle = F.l1_loss(infrared_to_visible(fake_infrared), visible)
        cycle = cycle + F.l1_loss(visible_to_infrared(fake_visible), infrared)
        identity = F.l1_loss(infrared_to_visible(visible), visible)
        identity = identity + F.l1_loss(visible_to_infrared(infrared), infrared)
        total = adversarial + weights.cycle * cycle + weights.identity * identity
        total.backward()
        generator_optimizer.step()

        discriminator_optimizer.zero_grad()  # of what the generators' step left there
        discriminator_loss = 0.0
        sides = (
            (discriminators.visible, visible, fake_visible),
            (discriminators.infrared, infrared, fake_infrared),
        )
        for pool, (network, real, fake) in zip(self.pools, sides, strict=True):
            seen = pool.exchange(fake, self.random)
            loss = (_least_squares(network(real), 1.0) + _least_squares(network(seen), 0.0)) / 2
            loss.backward()
            discriminator_loss += loss.item()
        discriminator_optimizer.step()
        terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity, "total": total}
        return {name: term.item() for name, term in terms.items()} | {"discriminator": discriminator_loss}


def _least_squares(scores: Tensor, wanted: float) -> Tensor:
    return F.mse_loss(scores, torch.full_like(scores, wanted))
