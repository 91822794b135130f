"""Stage 1 with held-out identities, whose translations are scored after each epoch."""

from __future__ import annotations

import pytest
import torch

from tsme.config import Config
from tsme.evaluation.evaluator import translate_split
from tsme.evaluation.image_quality import FeatureExtractor, HeldOutImages
from tsme.models.backbone import build_backbone
from tsme.training.distributed import Worker
from tsme.training.dsgan import DsganTask
from tsme.training.loop import fit

CPU = torch.device("cpu")


@pytest.fixture
def task(make_dsgan) -> DsganTask:
    return make_dsgan(visible=12, infrared=10)


@pytest.fixture
def with_held_out(tiny: Config, task: DsganTask, noise) -> DsganTask:
    """The task with held-out identities that have ground truth."""
    backbone = FeatureExtractor.of_backbone(build_backbone(tiny.reid.backbone))
    held = HeldOutImages(
        {"visible": noise(6, 21), "infrared": noise(5, 22)},
        {"visible": noise(6, 23), "infrared": noise(5, 24)},
        {"visible": backbone, "infrared": backbone},
    )
    return DsganTask(tiny, task.visible, task.infrared, Worker(), held)


def test_held_out_identities_are_scored_after_every_epoch(with_held_out):
    results = list(fit(with_held_out, Worker()))
    names = {f"{m}_{t}" for m in ("psnr", "ssim", "frechet") for t in ("infrared", "visible")}
    assert all(set(result.metrics) == names | {"lr"} for result in results)
    # The scores are those of the generators as they will be used.
    translations = translate_split(with_held_out.generators_for_use(), with_held_out.held_out.images, CPU)
    assert with_held_out.held_out.score(translations, CPU) == pytest.approx(
        {k: v for k, v in results[-1].metrics.items() if k != "lr"}, rel=1e-5
    )


def test_held_out_identities_do_not_change_training(with_held_out, task):
    for one in (with_held_out, task):
        list(fit(one, Worker()))
    weights, others = (dict(x.generators.named_parameters()) for x in (with_held_out, task))
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_a_preview_of_held_out_identities_shows_ground_truth(with_held_out):
    picture, held = with_held_out.preview(), with_held_out.held_out
    # Per modality: an image, its translation, the ground truth, and the translation back.
    assert picture.shape == (3, 4 * 32, 8 * 16)
    shown = {0: held.images["visible"], 32: held.ground_truths["visible"], 64: held.images["infrared"]}
    for left, images in shown.items():
        luminance = (images[0] * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
        assert (picture[:, :32, left : left + 16] - luminance).abs().max() <= 1
