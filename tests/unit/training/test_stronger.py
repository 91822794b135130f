"""Options that are not in the paper's recipe, each against its definition."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from tsme.config import BackboneConfig, ReidConfig, ReidLossConfig
from tsme.data.transforms import MEAN_PIXEL, draw_erased, erase
from tsme.data.types import MODALITIES
from tsme.losses import hetero_centre_triplet, reid_losses
from tsme.models.reid import TsmeNet
from tsme.outputs import HeadOutputs, NetworkOutputs
from tsme.presets import PRESETS, ablation, preset, strong
from tsme.settings import override

V_LABELS, I_LABELS = [7, 7, 0, 0, 0, 3], [3, 0, 7, 7, 3, 0, 0]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- hetero-centre triplet loss ------------------------------------------------------------


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


# --- label smoothing -----------------------------------------------------------------------


def test_smoothed_labels_give_a_tenth_to_all_people():
    """Szegedy et al., CVPR 2016: 1 - s of the weight on the person, s spread over all K."""
    labels = torch.tensor(V_LABELS), torch.tensor(I_LABELS)
    got = reid_losses(outputs(), *labels, ReidLossConfig(label_smoothing=0.1))["real_identity"]
    expected = 0.0
    for logits in outputs().real.logits:
        logs = logits - logits.exp().sum(1, keepdim=True).log()
        for row, person in zip(logs.tolist(), V_LABELS + I_LABELS, strict=True):
            expected -= (0.9 * row[person] + 0.1 * sum(row) / 8) / 13
    assert float(got) == pytest.approx(expected)


# --- generalised-mean pooling, streams and heads -------------------------------------------


def network(**options: object) -> TsmeNet:
    torch.manual_seed(0)
    small = BackboneConfig(architecture="resnet10", width=8, weights="none")
    return TsmeNet(ReidConfig(backbone=small, embedding=6, **options), 5).eval()


def pictures(count: int, seed: int) -> Tensor:
    return torch.rand(count, 3, 96, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_generalised_mean_pooling_of_the_fused_maps():
    net, image, translation = network(pooling_power=3.0), pictures(2, 1), pictures(2, 2)
    real, translated = net.maps(image, translation, "visible")
    fused = ((real + translated) / 2).detach()
    pooled = net.pool(net.seen(image, translation, "visible")[0], 6)
    for stripe in range(6):
        piece = fused[:, :, stripe : stripe + 1]  # maps are 6 rows high
        expected = (piece.clamp_min(1e-6) ** 3).mean((2, 3)) ** (1 / 3)
        torch.testing.assert_close(pooled[stripe], expected)


def test_a_high_power_pools_towards_the_maximum_and_gradients_stay_finite():
    net = network(pooling_power=6.0)
    out = net(*(pictures(2, seed) for seed in range(4)))
    torch.stack([e.sum() for kind in out for e in kind.embeddings]).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.streams.parameters())
    x = net.maps(pictures(2, 0), pictures(2, 1), "visible")[0].detach()
    seen = x.clamp_min(1e-6).pow(6).permute(0, 2, 3, 1).mean(2)
    highest, mean = x.amax((2, 3)), x.mean((2, 3))
    pooled = net.pool(seen, 1)[0]
    assert (pooled <= highest + 1e-6).all() and (pooled >= mean - 1e-6).all()


def test_without_pwif_there_are_two_streams_and_translations_are_not_looked_at():
    net = network(translation="none", iai=False)
    assert [len(streams) for streams in net.streams.values()] == [1, 1]
    out = net(pictures(2, 1), None, pictures(2, 2), None)
    assert [len(kind.logits) for kind in out] == [6, 0, 0]
    real = net.streams["visible"][0](pictures(2, 1))
    expected = torch.stack([real[:, :, k].mean(2) for k in range(6)])
    torch.testing.assert_close(net.pool(net.seen(pictures(2, 1), None, "visible")[0], 6), expected)
    assert torch.equal(
        net.embed(pictures(2, 1), None, "visible"),
        net.embed(pictures(2, 1), pictures(2, 9), "visible"),
    )


def test_without_iai_the_six_fused_heads_are_left():
    net = network(iai=False)
    out = net(*(pictures(2, seed) for seed in range(4)))
    assert [len(kind.logits) for kind in out] == [6, 0, 0]
    labels = torch.tensor([0, 1])
    terms = reid_losses(out, labels, labels, ReidLossConfig())
    assert set(terms) == {"fused_identity", "fused_centre", "total"}
    terms["total"].backward()
    assert all(p.grad is not None for p in net.parameters())


def test_invoking_all_images_takes_translations():
    with pytest.raises(ValueError, match=r"reid\.iai=false"):
        ReidConfig(translation="none")


# --- random erasing ------------------------------------------------------------------------


def rectangles(probability: float, count: int = 400) -> Tensor:
    images = torch.zeros(count, 3, 48, 24, dtype=torch.uint8)
    return draw_erased(images, probability, torch.Generator().manual_seed(5))[:, 0]


def test_erased_rectangles_are_of_the_papers_sizes_and_shapes():
    """Zhong et al., AAAI 2020: 2 to 40 % of the image, 0.3 to 3.33 times as high as wide."""
    masks = rectangles(1.0)
    assert masks.flatten(1).any(1).float().mean() > 0.99
    corners = set()
    for mask in masks[masks.flatten(1).any(1)]:
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        high, wide = len(rows), len(columns)
        assert int(mask.sum()) == high * wide, "one whole rectangle"
        assert 0.015 < high * wide / mask.numel() < 0.43
        assert 0.2 < high / wide < 4.5  # sides are rounded to pixels
        corners.add((int(rows[0]), int(columns[0])))
    assert len(corners) > 200


def test_the_share_of_images_erased_is_the_probability():
    assert 0.4 < float(rectangles(0.5).flatten(1).any(1).float().mean()) < 0.6
    assert not rectangles(0.0).any()


def test_erased_pixels_are_of_the_mean_colour_and_others_stay():
    images = torch.randint(256, (4, 3, 48, 24), generator=torch.Generator().manual_seed(1)).byte()
    mask = rectangles(1.0, 4)[:, None]
    out = erase(images, mask)
    assert torch.equal(out.masked_fill(mask, 0), images.masked_fill(mask, 0))
    for channel, value in enumerate(MEAN_PIXEL):
        assert (out[:, channel][mask[:, 0]] == value).all()


def test_an_image_and_its_translation_lose_the_same_rectangle(tiny, make_reid):
    task = make_reid(override(tiny, {"reid.erasing": 1.0, "reid.channel_exchange": 0.0}))
    for source in (task.images, task.translations):
        for modality in MODALITIES:
            source[modality] = torch.full_like(source[modality], 255)
    rows = next(iter(task.step_batches(1)))
    for modality, own in zip(MODALITIES, rows, strict=True):
        image, translation, _ = task._load(modality, own)
        red = round(MEAN_PIXEL[0] / 127.5 - 1, 4)
        erased = [(x[:, 0] * 1e4).round() == round(red * 1e4) for x in (image, translation)]
        assert erased[0].flatten(1).any(1).all()
        assert torch.equal(*erased)


# --- warm-up and presets -------------------------------------------------------------------


def test_rates_rise_over_the_first_epochs_and_then_follow_the_milestones(tiny, make_reid):
    settings = {"reid.epochs": 8, "reid.optimizer.warmup": 4, "reid.optimizer.milestones": (6,)}
    settings["reid.optimizer.lr"] = 0.1
    task = make_reid(override(tiny, settings))
    seen = []
    for _ in range(7):
        heads = task.optimizer.param_groups[1]["lr"]
        assert task.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * heads)
        seen.append(heads)
        task.optimizer.step()
        task.end_epoch()
    assert seen == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.01])


def test_rates_go_on_where_they_were(tiny, make_reid):
    settings = {"reid.epochs": 8, "reid.optimizer.warmup": 4, "reid.optimizer.milestones": (6,)}
    first, second = (make_reid(override(tiny, settings)) for _ in range(2))
    for _ in range(3):
        first.optimizer.step()
        first.end_epoch()
    second.load_state(copy.deepcopy(first.state()))
    for task in (first, second):
        task.optimizer.step()
        task.end_epoch()
    rates = [[g["lr"] for g in task.optimizer.param_groups] for task in (first, second)]
    assert rates[0] == rates[1]


@pytest.mark.parametrize("name", ["regdb", "sysu", "llcm"])
def test_strong_presets_differ_from_the_papers_in_what_they_name(name):
    paper, better = preset(name), PRESETS[f"{name}_strong"]()
    assert strong(better).reid.share == better.reid.share == "stem"
    assert better.reid.channel_exchange > 0 and better.reid.erasing > 0
    assert better.reid.pooling_power == (10 if name == "regdb" else 3)
    assert better.reid.loss.centre_triplet > 0 and better.reid.loss.hetero_centre == 0
    assert better.reid.loss.label_smoothing == 0.1 and better.reid.optimizer.warmup == 10
    assert better.evaluation.flip and better.evaluation.rerank
    assert (better.image, better.dataset) == (paper.image, paper.dataset)
    assert better.dsgan.residual and better.dsgan.share and better.reid.precision == "bfloat16"
    optimizer = better.reid.optimizer
    assert (optimizer.lr, optimizer.backbone_factor, optimizer.milestones) == (0.1, 0.1, (20, 50))
    assert (better.reid.identities, better.reid.images, better.reid.epochs) == (8, 4, 80)
    assert better.reid.backbone == paper.reid.backbone


def test_an_ablation_adds_one_part_at_a_time_and_takes_one_away(tiny):
    names = ["baseline", "grayscale copies", "PwIF", "PwIF and IAI", "strong", "strong without IAI"]
    kinds = ["none", "grayscale", *["dsgan"] * 4]
    parts = list(zip(kinds, [False, False, False, True, True, False], strict=True))
    for config in (tiny, override(tiny, {"reid.iai": False})):
        variants = ablation(config)
        assert [variant.name for variant in variants] == names
        assert [variant.over for variant in variants] == [None, *names[:-1]]
        assert [(v.config.reid.translation, v.config.reid.iai) for v in variants] == parts
        plain = {v.config.model_copy(update={"reid": tiny.reid}) for v in variants[:4]}
        assert plain == {tiny}, "nothing else differs"
        assert [v.config.reid.grayscale_visible for v in variants] == [True, *[False] * 5]
        assert override(variants[5].config, {"reid.iai": True}) == variants[4].config == strong(tiny)
    assert [variant.name for variant in ablation(strong(tiny))] == names[:4]
