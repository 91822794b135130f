"""Triplet losses that are not the paper's, against loops over images and identities."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tsme.config import ReidLossConfig
from tsme.losses import hetero_centre_triplet, reid_losses, weighted_triplet
from tsme.outputs import HeadOutputs, NetworkOutputs

LABELS = [7, 7, 0, 0, 0, 3, 3, 0]
HALF = 4  # of them visible


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_weighted(rows: list[list[float]], labels: list[int]) -> float:
    """Ye et al., TPAMI 2021, equation by equation; images without a pair or a rival left out."""
    terms = []
    for i, anchor in enumerate(rows):
        alike = [k for k, person in enumerate(labels) if person == labels[i] and k != i]
        others = [k for k, person in enumerate(labels) if person != labels[i]]
        if not alike or not others:
            continue
        p = [math.dist(anchor, rows[k]) for k in alike]
        n = [math.dist(anchor, rows[k]) for k in others]
        positive = sum(d * math.exp(d) for d in p) / sum(math.exp(d) for d in p)
        negative = sum(d * math.exp(-d) for d in n) / sum(math.exp(-d) for d in n)
        terms.append(math.log1p(math.exp(positive - negative)))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("labels", [LABELS, [1, 1, 2, 2], [1, 1, 2, 3, 4]])
def test_weighted_triplet_equals_a_loop_over_images(labels):
    x = draw(len(labels), 5).requires_grad_()
    loss = weighted_triplet(x, torch.tensor(labels))
    assert float(loss.detach()) == pytest.approx(naive_weighted(x.tolist(), labels), rel=1e-10)
    loss.backward()
    assert torch.isfinite(x.grad).all() and bool(x.grad.any())
    narrow = weighted_triplet(x.detach().float(), torch.tensor(labels))
    assert float(narrow) == pytest.approx(float(loss.detach()), rel=1e-5)


@pytest.mark.parametrize("labels", [[1, 2, 3], [4, 4, 4]])
def test_weighted_triplet_of_a_batch_without_pairs_or_rivals_is_zero(labels):
    x = draw(3, 5).requires_grad_()
    loss = weighted_triplet(x, torch.tensor(labels))
    loss.backward()
    assert float(loss.detach()) == 0 and torch.isfinite(x.grad).all()


def test_weighted_triplet_pulls_together_and_pushes_apart():
    x = draw(4, 3, seed=2).requires_grad_()
    labels = torch.tensor([0, 1, 0, 1])
    optimizer = torch.optim.SGD([x], lr=0.5)
    first = float(weighted_triplet(x, labels).detach())
    for _ in range(100):
        optimizer.zero_grad()
        weighted_triplet(x, labels).backward()
        optimizer.step()
    assert float(weighted_triplet(x, labels).detach()) < 0.1 * first


def test_centres_are_of_embeddings_as_they_are_unless_they_are_normalised():
    # Identity 0: visible (4, 0), infrared (0, 3): 5 apart. Identity 1: visible (4, 1), infrared (0, 1).
    visible, infrared = torch.tensor([[[4.0, 0.0], [4.0, 1.0]]]), torch.tensor([[[0.0, 3.0], [0.0, 1.0]]])
    labels = torch.tensor([0, 1])
    got = hetero_centre_triplet(visible, infrared, labels, labels, 0.0, normalize=False)
    # Nearest rivals: (4,0)-(4,1) 1; (0,3)-(0,1) 2; (4,1)-(4,0) 1; (0,1)-(0,3) 2. Own: 5, 5, 4, 4.
    assert float(got) == pytest.approx((4 + 3 + 3 + 2) / 4)
    assert float(hetero_centre_triplet(visible, infrared, labels, labels, 0.0)) < 1.5


def outputs() -> NetworkOutputs:
    def heads(count: int, seed: int) -> HeadOutputs:
        return HeadOutputs(tuple(draw(count, 8, 5, seed=seed)), tuple(draw(count, 8, 8, seed=seed + 50)))

    return NetworkOutputs(heads(6, 1), heads(2, 2), heads(2, 3))


@pytest.mark.parametrize("name", ["joined_triplet", "weighted_triplet"])
def test_losses_of_the_embeddings_side_by_side_enter_the_total(name):
    labels = torch.tensor(LABELS[:HALF]), torch.tensor(LABELS[HALF:])
    plain = reid_losses(outputs(), *labels, ReidLossConfig(fused=0.5))
    weights = ReidLossConfig(fused=0.5, triplet_normalize=False, **{name: 1.5})
    terms = reid_losses(outputs(), *labels, weights)
    joined = torch.cat(outputs().fused.embeddings, dim=1)  # (8, 6 * 5)
    if name == "weighted_triplet":
        expected = naive_weighted(joined.tolist(), LABELS)
    else:
        halves = joined[None, :HALF], joined[None, HALF:]
        expected = float(hetero_centre_triplet(*halves, *labels, 0.3, normalize=False))
    assert float(terms[f"fused_{name}"]) == pytest.approx(expected)
    assert float(terms["total"] - plain["total"]) == pytest.approx(0.5 * 1.5 * expected)
    assert set(terms) - set(plain) == {f"fused_{name}"}
