"""The hetero-centre triplet loss against loops in plain Python."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tsme.config import ReidLossConfig
from tsme.data.types import MODALITIES
from tsme.losses import hetero_centre_triplet, reid_losses
from tsme.outputs import HeadOutputs, NetworkOutputs

V_LABELS, I_LABELS = [7, 7, 0, 0, 0, 3], [3, 0, 7, 7, 3, 0, 0]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_triplet(
    visible: Tensor, infrared: Tensor, v_labels: list[int], i_labels: list[int], margin: float
) -> float:
    """Over people and modalities, with centres written out."""
    centres: dict[tuple[str, int], list[float]] = {}
    for modality, rows, labels in (
        ("visible", visible.tolist(), v_labels),
        ("infrared", infrared.tolist(), i_labels),
    ):
        for person in set(labels):
            own = [row for row, label in zip(rows, labels, strict=True) if label == person]
            unit = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in own]
            centres[modality, person] = [sum(c) / len(unit) for c in zip(*unit, strict=True)]
    terms = []
    for person in set(v_labels) & set(i_labels):
        for one, two in (MODALITIES, MODALITIES[::-1]):
            anchor = centres[one, person]
            positive = math.dist(anchor, centres[two, person])
            negative = min(math.dist(anchor, c) for (_, p), c in centres.items() if p != person)
            terms.append(max(0.0, margin + positive - negative))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("margin", [0.0, 0.3, 2.0])
@pytest.mark.parametrize(
    ("v_labels", "i_labels"),
    [
        (V_LABELS, I_LABELS),
        ([0, 0, 1, 1], [1, 0, 1, 0]),
        ([1, 1, 2], [2, 5, 5]),  # 1 and 5 are in one modality only: negatives, not anchors
    ],
)
def test_triplets_of_centres_equal_a_loop_over_people(v_labels, i_labels, margin):
    visible, infrared = draw(len(v_labels), 5, seed=1), draw(len(i_labels), 5, seed=2)
    got = hetero_centre_triplet(
        visible[None], infrared[None], torch.tensor(v_labels), torch.tensor(i_labels), margin
    )
    expected = naive_triplet(visible, infrared, v_labels, i_labels, margin)
    assert float(got) == pytest.approx(expected, abs=1e-12)
    assert got.shape == (1,)


def test_triplets_of_a_whole_batch_in_float32_and_of_a_batch_without_pairs():
    labels = torch.arange(4).repeat_interleave(6)
    visible, infrared = draw(24, 16, seed=5), draw(24, 16, seed=6)
    expected = naive_triplet(visible, infrared, labels.tolist(), labels.tolist(), 0.3)
    got = hetero_centre_triplet(visible[None].float(), infrared[None].float(), labels, labels, 0.3)
    assert float(got) == pytest.approx(expected, rel=1e-5)
    alone = hetero_centre_triplet(visible[None, :2], infrared[None, :2], labels[:2], labels[:2] + 1)
    assert float(alone) == 0.0


def test_a_triplet_loss_pulls_together_and_pushes_apart():
    visible, infrared = draw(4, 5, seed=3).requires_grad_(), draw(4, 5, seed=4).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1])
    optimizer = torch.optim.SGD([visible, infrared], lr=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        loss = hetero_centre_triplet(visible[None], infrared[None], labels, labels).sum()
        loss.backward()
        assert torch.isfinite(visible.grad).all()
        optimizer.step()
    assert float(loss.detach()) == 0.0


def outputs() -> NetworkOutputs:
    def heads(count: int, seed: int) -> HeadOutputs:
        return HeadOutputs(
            tuple(draw(count, 13, 5, seed=seed)), tuple(draw(count, 13, 8, seed=seed + 50))
        )

    return NetworkOutputs(heads(6, 1), heads(2, 2), heads(2, 3))


def test_the_triplet_term_enters_the_total_with_its_weight():
    labels = torch.tensor(V_LABELS), torch.tensor(I_LABELS)
    plain = reid_losses(outputs(), *labels, ReidLossConfig(fused=0.5))
    terms = reid_losses(
        outputs(), *labels, ReidLossConfig(fused=0.5, centre_triplet=1.5, triplet_margin=0.2)
    )
    fused = sum(naive_triplet(e[:6], e[6:], V_LABELS, I_LABELS, 0.2) for e in outputs().fused.embeddings)
    assert float(terms["fused_triplet"]) == pytest.approx(fused)
    added = 0.5 * terms["fused_triplet"] + terms["real_triplet"] + terms["translated_triplet"]
    assert float(terms["total"] - plain["total"]) == pytest.approx(1.5 * float(added))
    assert not any(name.endswith("triplet") for name in plain)
