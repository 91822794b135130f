"""Stage 1 beside held-out identities, of whom it says how good its translations are."""

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
def watched(tiny: Config, task: DsganTask, noise) -> DsganTask:
    """The task with held-out identities, whose other-modality images are known."""
    backbone = FeatureExtractor.of_backbone(build_backbone(tiny.reid.backbone))
    held = HeldOutImages(
        {"visible": noise(6, 21), "infrared": noise(5, 22)},
        {"visible": noise(6, 23), "infrared": noise(5, 24)},
        {"visible": backbone, "infrared": backbone},
    )
    return DsganTask(tiny, task.visible, task.infrared, Worker(), held)


def test_people_held_out_are_measured_after_every_epoch(watched):
    results = list(fit(watched, Worker()))
    names = {f"{m}_{t}" for m in ("psnr", "ssim", "frechet") for t in ("infrared", "visible")}
    assert all(set(result.metrics) == names | {"lr"} for result in results)
    # With the norms of the generators as they will be used, so that what is measured is what comes.
    made = translate_split(watched.generators_for_use(), watched.held.images, CPU)
    assert watched.held.score(made, CPU) == pytest.approx(
        {k: v for k, v in results[-1].metrics.items() if k != "lr"}, rel=1e-5
    )


def test_people_held_out_change_no_weight(watched, task):
    for one in (watched, task):
        list(fit(one, Worker()))
    weights, others = (dict(x.generators.named_parameters()) for x in (watched, task))
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_preview_of_people_held_out_has_the_truth_beside_the_translation(watched):
    picture, held = watched.preview(), watched.held
    # An image, its translation, the truth and the way back, of either modality.
    assert picture.shape == (3, 4 * 32, 8 * 16)
    luminance = (held.images["visible"][0] * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    assert (picture[0, :32, :16] - luminance).abs().max() <= 1
    assert torch.equal(picture[:, :32, 32:48], held.ground_truths["visible"][0])
    assert torch.equal(picture[:, :32, 64:80], held.images["infrared"][0])
