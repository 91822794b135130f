"""Losses against sums written out in plain Python."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tsme.config import DsganLossConfig, ReidLossConfig
from tsme.losses import discriminator_loss, generator_losses, hetero_centre, reid_losses
from tsme.outputs import HeadOutputs, NetworkOutputs, Scores, Translations

KINDS = ("fused", "real", "translated")


def naive_centre(rows: list[list[float]]) -> list[float]:
    unit = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows]
    return [sum(column) / len(unit) for column in zip(*unit, strict=True)]


def naive_hetero_centre(
    visible: Tensor, infrared: Tensor, v_labels: list[int], i_labels: list[int], margin: float = 0.0
) -> float:
    total = 0.0
    for person in set(v_labels) & set(i_labels):
        one = naive_centre([r for r, p in zip(visible.tolist(), v_labels, strict=True) if p == person])
        two = naive_centre([r for r, p in zip(infrared.tolist(), i_labels, strict=True) if p == person])
        total += max(0.0, sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) - margin)
    return total


V_LABELS, I_LABELS = [7, 7, 0, 0, 0, 3], [3, 0, 7, 7, 3, 0, 0]


def embeddings(count: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("margin", [0.0, 0.4, 1.0, 9.0])
@pytest.mark.parametrize(
    ("v_labels", "i_labels"),
    [
        (V_LABELS, I_LABELS),
        ([0, 0, 1, 1], [0, 0, 1, 1]),
        ([4], [4]),
        ([1, 1, 2], [2, 5, 5]),  # 1 and 5 are in one modality only
        ([1, 2], [3, 4]),  # nobody is in both
    ],
)
def test_hetero_centre_equals_a_loop_over_people(v_labels, i_labels, margin, dtype, tolerance):
    visible, infrared = embeddings(len(v_labels), 1, dtype), embeddings(len(i_labels), 2, dtype)
    got = hetero_centre(visible, infrared, torch.tensor(v_labels), torch.tensor(i_labels), margin)
    assert got.dtype == dtype and got.shape == ()
    expected = naive_hetero_centre(visible, infrared, v_labels, i_labels, margin)
    assert float(got) == pytest.approx(expected, abs=tolerance)


def test_hetero_centre_of_a_case_worked_out_by_hand():
    # Person 0: visible (1,0) and (0,1) after normalisation -> centre (1/2, 1/2); infrared (0,1).
    # |(1/2, -1/2)|^2 = 1/2. Person 1: (1,0) against (-1,0): |(2,0)|^2 = 4.
    visible, v_labels = torch.tensor([[2.0, 0.0], [0.0, 5.0], [3.0, 0.0]]), torch.tensor([0, 0, 1])
    infrared, i_labels = torch.tensor([[-1.0, 0.0], [0.0, 0.1]]), torch.tensor([1, 0])
    assert float(hetero_centre(visible, infrared, v_labels, i_labels)) == pytest.approx(4.5)
    # A margin of 1 leaves max(0, 1/2 - 1) + max(0, 4 - 1) = 3.
    assert float(hetero_centre(visible, infrared, v_labels, i_labels, 1.0)) == pytest.approx(3.0)


def test_every_head_has_a_hetero_centre_loss_of_its_own():
    labels = torch.tensor(V_LABELS), torch.tensor(I_LABELS)
    heads = [(embeddings(6, seed), embeddings(7, 10 + seed)) for seed in range(3)]
    together = hetero_centre(*(torch.stack(side) for side in zip(*heads, strict=True)), *labels, 0.1)
    alone = torch.stack([hetero_centre(*head, *labels, 0.1) for head in heads])
    torch.testing.assert_close(together, alone, rtol=1e-13, atol=1e-13)
    assert len(alone.unique()) == 3


@pytest.mark.parametrize("shuffled", ["visible", "infrared", "both"])
@pytest.mark.parametrize("seed", range(4))
def test_hetero_centre_does_not_depend_on_the_order_of_the_batch(shuffled, seed):
    visible, infrared = embeddings(6, 3), embeddings(7, 4)
    v_labels, i_labels = torch.tensor(V_LABELS), torch.tensor(I_LABELS)
    before = hetero_centre(visible, infrared, v_labels, i_labels)
    random = torch.Generator().manual_seed(seed)
    if shuffled != "infrared":
        order = torch.randperm(6, generator=random)
        visible, v_labels = visible[order], v_labels[order]
    if shuffled != "visible":
        order = torch.randperm(7, generator=random)
        infrared, i_labels = infrared[order], i_labels[order]
    after = hetero_centre(visible, infrared, v_labels, i_labels)
    torch.testing.assert_close(after, before, rtol=1e-13, atol=1e-13)
    assert float(before) > 0.1


@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_hetero_centre_has_the_gradient_of_its_finite_differences(margin):
    visible, infrared = embeddings(6, 5).requires_grad_(), embeddings(7, 6).requires_grad_()
    labels = torch.tensor(V_LABELS), torch.tensor(I_LABELS)
    assert torch.autograd.gradcheck(
        lambda v, i: hetero_centre(v, i, *labels, margin), (visible, infrared)
    )


@pytest.mark.parametrize("labels", [([1, 2], [3, 4]), ([1, 1], [1, 4])])
def test_hetero_centre_has_finite_gradients_where_people_miss_a_modality(labels):
    visible, infrared = embeddings(2, 7).requires_grad_(), embeddings(2, 8).requires_grad_()
    hetero_centre(visible, infrared, *map(torch.tensor, labels)).backward()
    for gradient in (visible.grad, infrared.grad):
        assert torch.isfinite(gradient).all()
    assert torch.equal(infrared.grad[1], torch.zeros(5, dtype=torch.float64))  # person 4 is alone


def network_outputs(dtype: torch.dtype = torch.float64) -> NetworkOutputs:
    """6 + 2 + 2 heads for 6 visible and 7 infrared images of 8 identities."""
    random = torch.Generator().manual_seed(9)

    def heads(count: int) -> HeadOutputs:
        def draw(width: int) -> tuple[Tensor, ...]:
            drawn = torch.randn(count, 13, width, generator=random, dtype=dtype)
            return tuple(x.clone().requires_grad_() for x in drawn)

        return HeadOutputs(draw(5), draw(8))

    return NetworkOutputs(heads(6), heads(2), heads(2))


def naive_cross_entropy(logits: Tensor, labels: list[int]) -> float:
    rows = logits.tolist()
    logs = [row[p] - math.log(sum(math.exp(x) for x in row)) for row, p in zip(rows, labels, strict=True)]
    return -sum(logs) / len(logs)


def reid(weights: ReidLossConfig) -> dict[str, Tensor]:
    return reid_losses(network_outputs(), torch.tensor(V_LABELS), torch.tensor(I_LABELS), weights)


@pytest.mark.parametrize("margin", [0.0, 0.3])
@pytest.mark.parametrize("kind", KINDS)
def test_terms_of_a_kind_are_summed_over_its_heads(kind, margin):
    terms, heads = reid(ReidLossConfig(margin=margin)), getattr(network_outputs(), kind)
    identity = sum(naive_cross_entropy(logits, V_LABELS + I_LABELS) for logits in heads.logits)
    centre = sum(naive_hetero_centre(e[:6], e[6:], V_LABELS, I_LABELS, margin) for e in heads.embeddings)
    assert float(terms[f"{kind}_identity"].detach()) == pytest.approx(identity, rel=1e-10)
    assert float(terms[f"{kind}_centre"].detach()) == pytest.approx(centre, rel=1e-10)


def test_smoothed_labels_give_a_tenth_to_all_people():
    """Szegedy et al., CVPR 2016: 1 - s of the weight on the person, s spread over all K."""
    labels = torch.tensor(V_LABELS), torch.tensor(I_LABELS)
    got = reid_losses(network_outputs(), *labels, ReidLossConfig(label_smoothing=0.1))["real_identity"]
    expected = 0.0
    for logits in network_outputs().real.logits:
        logs = logits - logits.exp().sum(1, keepdim=True).log()
        for row, person in zip(logs.tolist(), V_LABELS + I_LABELS, strict=True):
            expected -= (0.9 * row[person] + 0.1 * sum(row) / 8) / 13
    assert float(got.detach()) == pytest.approx(expected)


def test_reid_total_is_the_weighted_sum():
    weights = ReidLossConfig(hetero_centre=0.7, margin=0.1, fused=1.3, real=0.2, translated=2.5)
    t = {name: float(term.detach()) for name, term in reid(weights).items()}
    expected = (
        1.3 * (t["fused_identity"] + 0.7 * t["fused_centre"])
        + 0.2 * (t["real_identity"] + 0.7 * t["real_centre"])
        + 2.5 * (t["translated_identity"] + 0.7 * t["translated_centre"])
    )
    assert t["total"] == pytest.approx(expected, rel=1e-12)
    assert set(t) == {f"{k}_{term}" for k in KINDS for term in ("identity", "centre")} | {"total"}


@pytest.mark.parametrize("weight", ["hetero_centre", "margin", "fused", "real", "translated"])
def test_every_reid_weight_changes_the_total(weight):
    low, high = (reid(ReidLossConfig(**{weight: value}))["total"] for value in (0.25, 0.5))
    assert abs(float(low.detach()) - float(high.detach())) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_weight_zero_is_not_learnt_from(kind):
    outputs = network_outputs()
    labels = torch.tensor(V_LABELS), torch.tensor(I_LABELS)
    reid_losses(outputs, *labels, ReidLossConfig(**{kind: 0.0}))["total"].backward()
    for name, heads in outputs._asdict().items():
        for tensor in (*heads.embeddings, *heads.logits):
            assert bool(tensor.grad.any()) == (name != kind)


def test_losses_of_bfloat16_outputs_are_taken_in_float32():
    outputs = network_outputs(torch.bfloat16)
    labels = torch.tensor(V_LABELS), torch.tensor(I_LABELS)
    wide = NetworkOutputs(
        *(HeadOutputs(*(tuple(x.detach().float() for x in part) for part in kind)) for kind in outputs)
    )
    narrow, expected = (reid_losses(o, *labels, ReidLossConfig()) for o in (outputs, wide))
    assert {term.dtype for term in narrow.values()} == {torch.float32}
    for name, term in narrow.items():
        assert torch.equal(term.detach(), expected[name])


def images(seed: int, shape: tuple[int, ...] = (2, 3, 2, 2)) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean_of(function, *tensors: Tensor) -> float:
    values = [function(*v) for v in zip(*(t.flatten().tolist() for t in tensors), strict=True)]
    return sum(values) / len(values)


@pytest.mark.parametrize(("cycle", "identity"), [(10.0, 5.0), (0.0, 1.5), (2.0, 0.0)])
def test_generator_losses_follow_their_formulas(cycle, identity):
    six = Translations(*(images(seed) for seed in range(6)))
    visible, infrared, v_scores, i_scores = images(10), images(11), images(12, (2, 1, 3, 2)), images(13)
    weights = DsganLossConfig(cycle=cycle, identity=identity)
    got = generator_losses(six, visible, infrared, v_scores, i_scores, weights)

    def absolute(a: float, b: float) -> float:
        return abs(a - b)

    adversarial = mean_of(lambda s: (s - 1) ** 2, v_scores) + mean_of(lambda s: (s - 1) ** 2, i_scores)
    there_and_back = mean_of(absolute, six.cycled_visible, visible)
    there_and_back += mean_of(absolute, six.cycled_infrared, infrared)
    kept = mean_of(absolute, six.same_visible, visible) + mean_of(absolute, six.same_infrared, infrared)
    assert float(got["adversarial"]) == pytest.approx(adversarial)
    assert float(got["cycle"]) == pytest.approx(there_and_back)
    assert float(got["identity"]) == pytest.approx(kept)
    total = adversarial + cycle * there_and_back + identity * kept
    assert float(got["total"]) == pytest.approx(total)


def test_discriminator_loss_wants_real_scores_at_one_and_generated_ones_at_zero():
    scores = Scores(*(images(seed, (2, 1, 2, 3)) for seed in range(4)))
    real = mean_of(lambda s: (s - 1) ** 2, scores.real_visible)
    real += mean_of(lambda s: (s - 1) ** 2, scores.real_infrared)
    fake = mean_of(lambda s: s**2, scores.fake_visible) + mean_of(lambda s: s**2, scores.fake_infrared)
    assert float(discriminator_loss(scores)) == pytest.approx((real + fake) / 2)
    one, zero = torch.ones(1), torch.zeros(1)
    assert float(discriminator_loss(Scores(one, zero, one, zero))) == 0
