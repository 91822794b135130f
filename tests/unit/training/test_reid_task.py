"""Stage 2: what a step differentiates and logs, the optimiser, and what the networks are shown."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from tsme.data.types import class_labels
from tsme.losses import hetero_centre
from tsme.settings import override
from tsme.training import reid as module
from tsme.training.distributed import Worker
from tsme.training.reid import Pixels, ReidTask

PLAIN = {"image.padding": 0, "reid.dropout": 0.0, "reid.channel_exchange": 0.0}


def symmetric(task: ReidTask) -> ReidTask:
    """The task with images that a random flip does not change."""
    for images in (task.images, task.translations):
        for modality, x in images.items():
            images[modality] = torch.cat([x[..., :8], x[..., :8].flip(3)], dim=3)
    return task


def first_batch(task: ReidTask):
    """Rows, the four image tensors in [-1, 1], and labels of both modalities together."""
    rows = next(iter(task.step_batches(1)))
    images, labels = [], []
    for modality, own in zip(("visible", "infrared"), rows, strict=True):
        for source in (task.images, task.translations):
            images.append(source[modality][own].float() / 127.5 - 1)
        labels.append(torch.from_numpy(own // 3))  # 3 images of each of 4 people, in order
    return rows, images, labels


def test_a_step_differentiates_and_logs_the_same_losses(tiny, make_reid):
    weights = {"hetero_centre": 0.8, "margin": 0.01, "fused": 1.2, "real": 0.5, "translated": 0.3}
    loss = {f"reid.loss.{name}": value for name, value in weights.items()}
    task = symmetric(make_reid(override(tiny, PLAIN | loss)))
    rows, images, labels = first_batch(task)
    network = copy.deepcopy(task.network)
    everyone, total, terms = torch.cat(labels), torch.zeros(()), {}
    for kind, heads in network(*images)._asdict().items():
        logs = [x.log_softmax(1)[torch.arange(8), everyone] for x in heads.logits]
        identity = -sum(log.mean() for log in logs)
        centre = sum(hetero_centre(e[:4], e[4:], *labels, 0.01) for e in heads.embeddings)
        terms |= {f"{kind}_identity": identity, f"{kind}_centre": centre}
        total = total + weights[kind] * (identity + 0.8 * centre)
    gradients = torch.autograd.grad(total, list(network.parameters()))
    logged = task.step(rows)
    expected = {k: float(v.detach()) for k, v in (terms | {"total": total}).items()}
    assert {k: float(v) for k, v in logged.items()} == pytest.approx(expected, rel=1e-4)
    assert not any(term.requires_grad for term in logged.values())
    for parameter, gradient in zip(task.network.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("factor", [0.1, 0.5, 0.0])
def test_streams_learn_at_a_fraction_of_the_heads_rate(tiny, make_reid, factor):
    values = {"lr": 0.2, "backbone_factor": factor, "momentum": 0.8, "weight_decay": 0.01}
    task = make_reid(override(tiny, PLAIN | {f"reid.optimizer.{k}": v for k, v in values.items()}))
    streams, heads = task.optimizer.param_groups
    assert (streams["lr"], heads["lr"]) == (pytest.approx(0.2 * factor), 0.2)
    before = {name: p.detach().clone() for name, p in task.network.named_parameters()}
    task.step(next(iter(task.step_batches(1))))
    for name, p in task.network.named_parameters():
        # Nesterov's first step: the gradient with decay g is both step and momentum, so (1 + 0.8) g.
        g = p.grad + 0.01 * before[name]
        lr = 0.2 * factor if name.startswith("streams.") else 0.2
        torch.testing.assert_close(p.detach(), before[name] - lr * 1.8 * g, rtol=1e-4, atol=1e-6)


def test_the_optimiser_holds_every_parameter_of_the_network_once_and_no_other(make_reid):
    task = make_reid()
    held = [id(p) for group in task.optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in task.network.parameters())
    assert all(p.requires_grad for p in task.network.parameters())
    streams = {id(p) for p in task.network.streams.parameters()}
    assert {id(p) for p in task.optimizer.param_groups[0]["params"]} == streams


def test_rates_fall_after_their_milestones(tiny, make_reid, run):
    task = make_reid(
        override(
            tiny,
            {
                "reid.epochs": 6,
                "reid.optimizer.lr": 0.01,
                "reid.optimizer.milestones": [2, 5],
                "reid.optimizer.decay": 0.5,
                "reid.optimizer.backbone_factor": 0.1,
            },
        )
    )
    results, _ = run(task)
    # Two epochs at the full rate, three at half, the last at a quarter.
    expected = [0.01, 0.01, 0.005, 0.005, 0.005, 0.0025]
    assert [r.metrics["lr"] for r in results] == pytest.approx(expected)
    assert task.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.0025)


def shown(task: ReidTask) -> tuple[list[Tensor], list[tuple]]:
    """What the network is given over an epoch: four image tensors, and the rows they come from."""
    given: list[tuple] = []
    hook = task.network.register_forward_pre_hook(lambda _, inputs: given.append(inputs))
    batches = list(task.step_batches(1))
    for batch in batches:
        task.step(batch)
    hook.remove()
    return [torch.cat(images) for images in zip(*given, strict=True)], batches


def opposite(task: ReidTask) -> None:
    """Translations are negatives; no pixel of an image is black, so padding can be told apart."""
    for modality, images in task.images.items():
        images.clamp_(min=1)
        task.translations[modality] = 255 - images


def test_an_image_and_its_translation_are_cropped_and_mirrored_alike(tiny, make_reid):
    task = make_reid(override(tiny, {"image.padding": 4, "reid.channel_exchange": 0.0}))
    opposite(task)
    (visible, visible_translated, infrared, infrared_translated), _ = shown(task)
    for image, translation in ((visible, visible_translated), (infrared, infrared_translated)):
        inside = image > -1
        torch.testing.assert_close(translation[inside], -image[inside])
        assert (translation[~inside] == -1).all()
        assert 0 < float((~inside).float().mean()) < 0.5


def test_only_the_colour_of_visible_images_is_exchanged(tiny, make_reid):
    task = make_reid(override(tiny, {"reid.channel_exchange": 1.0, "image.padding": 0}))
    (visible, visible_translated, infrared, _), _ = shown(task)

    def grayscale(x: Tensor) -> bool:
        return bool((x == x[:, :1]).all())

    assert (grayscale(visible), grayscale(visible_translated), grayscale(infrared)) == (
        True,
        False,
        False,
    )


def test_every_image_keeps_its_own_translation_and_label(tiny, make_reid, monkeypatch):
    task = make_reid(override(tiny, PLAIN))
    for modality, base in (("visible", 0), ("infrared", 100)):
        for source, offset in ((task.images, 1), (task.translations, 50)):
            values = torch.arange(12) + base + offset
            source[modality] = values.to(torch.uint8).reshape(12, 1, 1, 1).expand(12, 3, 32, 16).clone()
    labels, losses = [], module.reid_losses

    def spy(outputs, visible, infrared, weights):
        labels.append((visible, infrared))
        return losses(outputs, visible, infrared, weights)

    monkeypatch.setattr(module, "reid_losses", spy)
    images, batches = shown(task)
    values = [((x[:, 0, 0, 0] + 1) * 127.5).round().int() for x in images]
    for k, (base, images_of, translations_of) in enumerate(((0, *values[:2]), (100, *values[2:]))):
        rows = torch.cat([torch.from_numpy(batch[k]) for batch in batches])
        assert images_of.tolist() == (rows + base + 1).tolist()
        assert translations_of.tolist() == (rows + base + 50).tolist()
        assert torch.cat([pair[k] for pair in labels]).tolist() == (rows // 3).tolist()


def test_labels_number_the_people_of_the_split(make_split, tiny, noise):
    split = make_split(range(3, 7), 2)
    images = {"visible": noise(8, 1), "infrared": noise(8, 2)}
    task = ReidTask(tiny, split, Pixels(images, images), Worker())
    for modality in ("visible", "infrared"):
        assert task.labels[modality].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        assert class_labels(split[modality], [3, 4, 5, 6]).tolist() == task.labels[modality].tolist()
    assert task.network.fused_heads[0].classify.out_features == 4


def test_validation_measures_the_network_after_each_epoch(make_reid, run):
    seen = []

    def validate(network):
        seen.append(network.fused_heads[0].classify.weight.detach().clone())
        return {"val_mAP": len(seen) / 10}

    task = make_reid(validate=validate)
    results, _ = run(task)
    assert [r.metrics["val_mAP"] for r in results] == [0.1, 0.2, 0.3]
    assert torch.equal(seen[-1], task.network.fused_heads[0].classify.weight)
    assert not torch.equal(seen[0], seen[1])
    assert task.preview() is None


def test_people_in_plain_colours_are_learnt(tiny, make_reid, run):
    """Four people, each of one brightness of their own in all images."""
    settings = {"epochs": 20, "identities": 4, "optimizer.lr": 0.1, "optimizer.milestones": [18]}
    task = make_reid(override(tiny, PLAIN | {f"reid.{k}": v for k, v in settings.items()}))
    for source in (task.images, task.translations):
        for modality in source:
            person = (torch.arange(12) // 3 * 80).to(torch.uint8)
            source[modality] = person.reshape(12, 1, 1, 1).expand(12, 3, 32, 16).clone()
    results, _ = run(task)
    first, last = results[0].losses, results[-1].losses
    assert last["fused_identity"] < 0.1 * first["fused_identity"]
    assert last["total"] < 0.1 * first["total"]
