"""The losses of both stages, as named terms; the logged total is the one that is differentiated.

Shapes: S heads, B images, E embedding, K identities.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tsme.config import DsganLossConfig, ReidLossConfig
from tsme.numerics import upcast_bf16
from tsme.outputs import NetworkOutputs, Scores, Translations


def hetero_centre(
    visible: Tensor,
    infrared: Tensor,
    visible_labels: Tensor,
    infrared_labels: Tensor,
    margin: float = 0.0,
) -> Tensor:
    """Hetero-centre loss of every head (Zhu et al., Neurocomputing 2020): (S,), >= 0.

    Sum over the identities present in both modalities of max(0, |c_visible - c_infrared|^2 - margin),
    c the mean of one identity's L2-normalised embeddings (S, B, E) in one modality. Grouped by label,
    so the order of the batch does not matter.
    """
    # Computed for every visible image rather than for every identity: to list the identities, the host
    # would have to wait for the GPU.
    same = (visible_labels[:, None] == visible_labels).to(visible.dtype)  # (B, B)
    across = (visible_labels[:, None] == infrared_labels).to(visible.dtype)  # (B, B_infrared)
    images, counterparts = same.sum(1, keepdim=True), across.sum(1, keepdim=True)  # (B, 1)
    visible_centres = same @ F.normalize(visible, dim=-1) / images  # (S, B, E)
    infrared_centres = across @ F.normalize(infrared, dim=-1) / counterparts.clamp_min(1)
    distances = (visible_centres - infrared_centres).square().sum(-1)  # (S, B)
    weight = (counterparts > 0) / images  # the visible images of an identity share its term
    return ((distances - margin).clamp_min(0) * weight[:, 0]).sum(-1)


def hetero_centre_triplet(
    visible: Tensor,
    infrared: Tensor,
    visible_labels: Tensor,
    infrared_labels: Tensor,
    margin: float = 0.3,
    *,
    normalize: bool = True,
) -> Tensor:
    """Hetero-centre triplet loss of every head (Liu, Tan, Zhou, IEEE TMM 2021): (S,), >= 0.

    Mean over the identities and modalities of max(0, margin + |c - c'| - |c - n|): c the centre of one
    identity in one modality, c' its centre in the other, n the nearest centre of another identity in
    either. Centres are means of embeddings (S, B, E), first scaled to length 1 with `normalize` (ours).
    Labels may be in any order; identities with images in one modality only are negatives, never anchors.
    """
    # As above, computed for every image. A group is the images of an identity in one modality.
    labels = torch.cat([visible_labels, infrared_labels])  # (B,)
    count = len(visible_labels)
    same_identity = labels[:, None] == labels  # (B, B)
    same_group = same_identity.to(visible.dtype)
    same_group[:count, count:] = same_group[count:, :count] = 0
    group_size = same_group.sum(1)
    both = torch.cat([visible, infrared], dim=1)
    if normalize:
        both = F.normalize(both, dim=-1)
    centres = same_group @ both / group_size[:, None]  # (S, B, E)
    # From differences: small distances computed from products lose digits.
    distances = torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist")  # (S, B, B)
    counterparts = same_identity & (same_group == 0)  # images of the identity in the other modality
    # The mean of equal distances: all counterparts have the same centre.
    positive = (distances * counterparts).sum(-1) / counterparts.sum(-1).clamp_min(1)  # (S, B)
    negative = distances.masked_fill(same_identity, torch.inf).amin(-1)  # (S, B)
    weight = counterparts.any(-1) / group_size  # the images of a group share its term
    violated = (margin + positive - negative).clamp_min(0)  # (S, B)
    return (violated * weight).sum(-1) / weight.sum().clamp_min(1)


def weighted_triplet(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Weighted regularised triplet loss of embeddings (B, E) (AGW; Ye et al., TPAMI 2021): a scalar.

    Mean over the images of log(1 + exp(p - n)): p the mean of an image's distances to the others of its
    identity, weighted by the softmax of the distances, n that to all other identities, weighted by the
    softmax of the negated ones. Modalities are not distinguished. An image without another of its
    identity, or without one of another identity, is left out.
    """
    distances = torch.cdist(embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist")  # (B, B)
    same = labels[:, None] == labels
    alike = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    used = alike.any(1) & ~same.all(1)
    # A finite floor: a softmax over nothing but -inf has no gradient.
    lowest = torch.finfo(distances.dtype).min
    positive = (distances * distances.masked_fill(~alike, lowest).softmax(1)).sum(1)
    negative = (distances * (-distances).masked_fill(same, lowest).softmax(1)).sum(1)
    return (F.softplus(positive - negative) * used).sum() / used.sum().clamp_min(1)


def reid_losses(
    outputs: NetworkOutputs, visible_labels: Tensor, infrared_labels: Tensor, weights: ReidLossConfig
) -> dict[str, Tensor]:
    """Terms of stage 2, unweighted, by kind of head, and their weighted sum `total`.

    total = sum over kinds of w_kind * (identity + w_hc * hetero-centre + w_tri * triplet), each summed
    over the kind's heads, plus w_fused times the weighted terms of the concatenated fused embeddings.
    Triplet terms with weight 0 are left out.
    """
    heads = [len(kind.logits) for kind in outputs]
    embeddings, logits = (
        upcast_bf16(torch.stack([x for heads in part for x in heads]))
        for part in zip(*outputs, strict=True)
    )  # (S, B, E), (S, B, K)
    labels = visible_labels, infrared_labels
    losses = _head_losses(embeddings, logits, *labels, weights)
    factors = {"identity": 1.0, "centre": weights.hetero_centre, "triplet": weights.centre_triplet}
    terms: dict[str, Tensor] = {}
    weighted: list[Tensor] = []
    for name, values in losses.items():
        for kind, count, part in zip(outputs._fields, heads, values.split(heads), strict=True):
            if count:
                terms[f"{kind}_{name}"] = term = part.sum()
                weighted.append(getattr(weights, kind) * factors[name] * term)
    joined = _joined_losses(torch.cat(embeddings[: heads[0]].unbind(), dim=-1), *labels, weights)
    for name, term in joined.items():
        terms[f"fused_{name}"] = term
        weighted.append(weights.fused * getattr(weights, name) * term)
    return terms | {"total": torch.stack(weighted).sum()}


def _head_losses(
    embeddings: Tensor,
    logits: Tensor,
    visible_labels: Tensor,
    infrared_labels: Tensor,
    weights: ReidLossConfig,
) -> dict[str, Tensor]:
    """Terms (S,) of the heads of all kinds by name, of embeddings (S, B, E) and logits (S, B, K)."""
    labels = torch.cat([visible_labels, infrared_labels])
    everywhere = labels.repeat(len(logits))  # (S B,)
    identity = F.cross_entropy(
        logits.flatten(0, 1), everywhere, reduction="none", label_smoothing=weights.label_smoothing
    )  # (S B,)
    visible, infrared = embeddings.split([len(visible_labels), len(infrared_labels)], dim=1)
    both = visible, infrared, visible_labels, infrared_labels
    losses = {
        "identity": identity.view(len(logits), -1).mean(1),
        "centre": hetero_centre(*both, weights.margin),
    }
    if weights.centre_triplet:
        margin, normalize = weights.triplet_margin, weights.triplet_normalize
        losses["triplet"] = hetero_centre_triplet(*both, margin, normalize=normalize)
    return losses


def _joined_losses(
    embeddings: Tensor, visible_labels: Tensor, infrared_labels: Tensor, weights: ReidLossConfig
) -> dict[str, Tensor]:
    """Terms of the concatenated fused embeddings (B, S E), by name; none with weight 0."""
    losses: dict[str, Tensor] = {}
    if weights.joined_triplet:
        visible, infrared = embeddings[None].split([len(visible_labels), len(infrared_labels)], dim=1)
        margin, normalize = weights.triplet_margin, weights.triplet_normalize
        losses["joined_triplet"] = hetero_centre_triplet(
            visible, infrared, visible_labels, infrared_labels, margin, normalize=normalize
        ).sum()
    if weights.weighted_triplet:
        labels = torch.cat([visible_labels, infrared_labels])
        losses["weighted_triplet"] = weighted_triplet(embeddings, labels)
    return losses


def generator_losses(
    translations: Translations,
    visible: Tensor,
    infrared: Tensor,
    scores_visible: Tensor,
    scores_infrared: Tensor,
    weights: DsganLossConfig,
) -> dict[str, Tensor]:
    """Terms of DSGAN's generators (least squares, L1 cycle, L1 identity) and the weighted `total`.

    `scores_*` are the discriminators' scores of the generated images. There is no identity term where
    the generators left its translations out. Mao et al., ICCV 2017; Zhu et
    al., ICCV 2017.
    """
    adversarial = (scores_visible - 1).square().mean() + (scores_infrared - 1).square().mean()
    cycle = F.l1_loss(translations.cycled_visible, visible)
    cycle = cycle + F.l1_loss(translations.cycled_infrared, infrared)
    total = adversarial + weights.cycle * cycle
    terms = {"adversarial": adversarial, "cycle": cycle}
    if translations.same_visible is not None and translations.same_infrared is not None:
        identity = F.l1_loss(translations.same_visible, visible)
        terms["identity"] = identity = identity + F.l1_loss(translations.same_infrared, infrared)
        total = total + weights.identity * identity
    return terms | {"total": total}


def discriminator_loss(scores: Scores) -> Tensor:
    """Least-squares loss of both discriminators: real scores to 1, generated ones to 0, halved."""
    real = (scores.real_visible - 1).square().mean() + (scores.real_infrared - 1).square().mean()
    fake = scores.fake_visible.square().mean() + scores.fake_infrared.square().mean()
    return (real + fake) / 2
