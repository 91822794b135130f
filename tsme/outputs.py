"""What the networks return and the losses take, as named tuples of tensors."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class HeadOutputs(NamedTuple):
    """Outputs of all heads of one kind: embeddings (B_visible + B_infrared, E) and logits (..., K).

    In each tensor the visible images come first, then the infrared ones.
    """

    embeddings: tuple[Tensor, ...]
    logits: tuple[Tensor, ...]


class NetworkOutputs(NamedTuple):
    """Outputs of the ten heads: six of PwIF (`fused`), two real and two translated ones of IAI."""

    fused: HeadOutputs
    real: HeadOutputs
    translated: HeadOutputs


class Translations(NamedTuple):
    """Outputs of a generator step, (B, 3, H, W) each: translated, translated back, and unchanged.

    `fake_*` are translations, `cycled_*` their translations back, and `same_*` outputs for images
    that are of the target modality already; None where the identity loss has weight 0.
    """

    fake_infrared: Tensor
    fake_visible: Tensor
    cycled_visible: Tensor
    cycled_infrared: Tensor
    same_infrared: Tensor | None
    same_visible: Tensor | None


class Scores(NamedTuple):
    """Patch scores of a discriminator step, (B, 1, h, w) each."""

    real_visible: Tensor
    fake_visible: Tensor
    real_infrared: Tensor
    fake_infrared: Tensor
