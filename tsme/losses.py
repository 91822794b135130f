"""The losses of both stages, as named terms: what is logged is what is differentiated.

Shapes: B images, E embedding, K identities.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tsme.config import DsganLoss, ReidLoss
from tsme.models.dsgan import Scores, Translations
from tsme.models.reid import HeadOutputs, NetworkOutputs


def hetero_centre(
    visible: Tensor,
    infrared: Tensor,
    visible_labels: Tensor,
    infrared_labels: Tensor,
    margin: float = 0.0,
) -> Tensor:
    """Hetero-centre loss (Zhu et al., Neurocomputing 2020): scalar >= 0.

    Sum over the identities present in both modalities of max(0, |c_visible - c_infrared|^2 - margin),
    c the mean of one identity's L2-normalised embeddings (B, E) in one modality. Grouped by label,
    so the order of the batch does not matter.
    """
    labels = torch.cat([visible_labels, infrared_labels]).unique()
    visible_centres, in_visible = _centres(visible, visible_labels, labels)
    infrared_centres, in_infrared = _centres(infrared, infrared_labels, labels)
    distances = (visible_centres - infrared_centres).square().sum(1)
    return ((distances - margin).clamp_min(0) * (in_visible & in_infrared)).sum()


def _centres(embeddings: Tensor, labels: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (n, E) of the wanted labels, zero where a label is absent, and presence (n,)."""
    member = (wanted[:, None] == labels[None]).to(embeddings.dtype)  # (n, B)
    counts = member.sum(1, keepdim=True)
    return (member @ F.normalize(embeddings)) / counts.clamp_min(1), counts[:, 0] > 0


def reid_losses(
    outputs: NetworkOutputs, visible_labels: Tensor, infrared_labels: Tensor, weights: ReidLoss
) -> dict[str, Tensor]:
    """Terms of stage 2, unweighted, by kind of head, and their weighted sum `total`.

    total = sum over kinds of w_kind * (identity + w_hc * hetero-centre), each summed over its heads.
    """
    terms: dict[str, Tensor] = {}
    total = torch.zeros((), device=visible_labels.device)
    for kind, heads in zip(outputs._fields, outputs, strict=True):
        identity, centre = _head_losses(heads, visible_labels, infrared_labels, weights.margin)
        terms |= {f"{kind}_identity": identity, f"{kind}_centre": centre}
        total = total + getattr(weights, kind) * (identity + weights.hetero_centre * centre)
    return terms | {"total": total}


def _head_losses(
    heads: HeadOutputs, visible_labels: Tensor, infrared_labels: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    labels = torch.cat([visible_labels, infrared_labels])
    identity = sum_of([F.cross_entropy(logits, labels) for logits in heads.logits])
    count = len(visible_labels)
    centre = sum_of(
        [
            hetero_centre(e[:count], e[count:], visible_labels, infrared_labels, margin)
            for e in heads.embeddings
        ]
    )
    return identity, centre


def sum_of(terms: list[Tensor]) -> Tensor:
    """Sum of scalars."""
    return torch.stack(terms).sum()


def generator_losses(
    translations: Translations,
    visible: Tensor,
    infrared: Tensor,
    scores_visible: Tensor,
    scores_infrared: Tensor,
    weights: DsganLoss,
) -> dict[str, Tensor]:
    """Terms of DSGAN's generators (least squares, L1 cycle, L1 identity) and the weighted `total`.

    `scores_*` are the discriminators' scores of the generated images. Mao et al., ICCV 2017; Zhu et
    al., ICCV 2017.
    """
    adversarial = (scores_visible - 1).square().mean() + (scores_infrared - 1).square().mean()
    cycle = F.l1_loss(translations.cycled_visible, visible)
    cycle = cycle + F.l1_loss(translations.cycled_infrared, infrared)
    identity = F.l1_loss(translations.same_visible, visible)
    identity = identity + F.l1_loss(translations.same_infrared, infrared)
    total = adversarial + weights.cycle * cycle + weights.identity * identity
    return {"adversarial": adversarial, "cycle": cycle, "identity": identity, "total": total}


def discriminator_loss(scores: Scores) -> Tensor:
    """Least-squares loss of both discriminators: real scores to 1, generated ones to 0, halved."""
    real = (scores.real_visible - 1).square().mean() + (scores.real_infrared - 1).square().mean()
    fake = scores.fake_visible.square().mean() + scores.fake_infrared.square().mean()
    return (real + fake) / 2
