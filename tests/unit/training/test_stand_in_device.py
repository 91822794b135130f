"""Training and evaluation on a device other than the CPU give the same numbers, to the last digit."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._pytree import tree_map

from tests.support.stand_in_device import CPU, STAND_IN, stand_in_device
from tsme.config import BackboneConfig, Config, ImageConfig
from tsme.data.images import grayscale
from tsme.data.types import MODALITIES
from tsme.evaluation.evaluator import embed_trial
from tsme.evaluation.image_quality import FeatureExtractor, HeldOutImages
from tsme.models.backbone import build_backbone
from tsme.models.checkpoint import load_model
from tsme.settings import override
from tsme.training.distributed import Worker
from tsme.training.dsgan import DsganTask
from tsme.training.loop import EpochResult, fit
from tsme.training.pretrain import Recipe, SyntheticWeights, pretrain
from tsme.training.reid import ReidTask
from tsme.training.stages import run_stages
from tsme.training.trial import TrialTraining


class Roomy(Worker):
    """A worker whose device has room for the images."""

    def to_device_if_fits(self, *images: Tensor) -> tuple[Tensor, ...]:
        return tuple(x.to(self.device) for x in images)


@pytest.fixture
def training(tiny: Config, make_split, make_pixels, tmp_path: Path) -> TrialTraining:
    make_split(range(5, 9))  # identities to hold out; they must be on disk before the images are read
    # With the parts of the stronger recipe, in addition to the paper's.
    config = override(tiny, {"dsgan.epochs": 2, "reid.epochs": 2, "reid.erasing": 0.5})
    return TrialTraining(config, 1, make_split(range(0, 5)), None, make_pixels(), tmp_path / "here")


def figures(results) -> list[tuple[Any, ...]]:
    return [(r.stage, r.epoch, r.losses, r.metrics) for r in results]


def same_files(one: Path, two: Path) -> bool:
    first, second = load_file(one), load_file(two)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_the_stand_in_refuses_what_a_gpu_refuses():
    with stand_in_device():
        there, rows = torch.ones(3, 4).to(STAND_IN), torch.tensor([0, 2])
        assert there.device == STAND_IN and (2 * there + torch.tensor(1.0)).device == STAND_IN
        assert there[rows].device == STAND_IN and there[rows].shape == (2, 4)
        for mixture in (
            lambda: there + torch.ones(3, 4),
            lambda: torch.arange(3)[rows.to(STAND_IN)],
            lambda: there.index_put((rows,), torch.ones(2, 4)),
            lambda: there.gather(1, torch.zeros(3, 1, dtype=torch.int64)),
        ):
            with pytest.raises(RuntimeError, match="is on the CPU"):
                mixture()
        with pytest.raises(RuntimeError, match="generator"):
            torch.rand(3, device=STAND_IN, generator=torch.Generator())
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
        assert there.sum().item() == 12 and there.cpu().numpy().sum() == 12


@pytest.mark.parametrize(
    ("operation", "waits"),
    [
        (lambda x: x.sum().item(), True),
        (lambda x: bool(x.any()), True),
        (lambda x: x.tolist(), True),
        (lambda x: x.cpu(), True),
        (lambda x: torch.equal(x, x), True),
        (lambda x: x.nonzero(), True),
        (lambda x: torch.where(x > 0), True),
        (lambda x: x[x > 0], True),
        (lambda x: torch.unique(x), True),
        (lambda x: x.repeat_interleave(x), True),
        (lambda x: 2 * x + torch.tensor(1), False),
        (lambda x: torch.where(x > 0, x, 0), False),
        (lambda x: x[torch.tensor([0, 2])], False),
        (lambda x: x.to(torch.float32).mean(), False),
    ],
)
def test_the_stand_in_notes_operations_that_the_host_waits_for(operation, waits):
    with stand_in_device() as mode:
        there = torch.arange(3).to(STAND_IN)
        assert not mode.waited_for
        operation(there)
        assert bool(mode.waited_for) == waits


@pytest.mark.parametrize("kind", [Worker, Roomy])
def test_a_trial_trains_on_the_device(training, kind):
    there = replace(training, folder=training.folder.parent / "there")
    with stand_in_device():
        results_there = figures(run_stages(there, kind(device=STAND_IN)))
    assert results_there == figures(run_stages(training, Worker()))
    assert same_files(there.generators_file, training.generators_file)
    assert same_files(there.model_file, training.model_file)


def test_validation_on_the_device_gives_the_same_figures(training, make_split):
    validated = replace(training, validation=make_split(range(5, 9)))
    there = replace(validated, folder=training.folder.parent / "there")
    with stand_in_device():
        results_there = figures(run_stages(there, Roomy(device=STAND_IN)))
    assert results_there == figures(run_stages(validated, Worker()))
    assert "val_mAP" in results_there[-1][-1]


@pytest.mark.parametrize("stage", ["dsgan", "reid"])
def test_training_on_the_device_resumes_from_a_checkpoint(training, stage):
    there = replace(training, folder=training.folder.parent / "there")
    with stand_in_device():
        stream = run_stages(there, Roomy(device=STAND_IN))
        first = next(r for r in stream if (r.stage, r.epoch) == (stage, 1))
        saved = _as_loaded(first)
        stream.close()
        resumed = figures(run_stages(there, Roomy(device=STAND_IN), saved))
    assert resumed == figures(run_stages(training, Worker()))[-len(resumed) :]
    assert resumed[0][:2] == (stage, 2)


def _as_loaded(result: EpochResult) -> dict[str, Any]:
    """The checkpoint as it comes back from a file: on the CPU."""
    return tree_map(lambda x: x.cpu() if isinstance(x, Tensor) else copy.deepcopy(x), result.checkpoint)


def test_a_trained_model_embeds_on_the_device(training, make_split):
    list(run_stages(training, Worker()))
    images = training.images.split(make_split(range(5, 9)))
    here = embed_trial(load_model(training.model_file, CPU), images, CPU, flips=[False, True])
    with stand_in_device():
        model = load_model(training.model_file, STAND_IN)
        there = embed_trial(model, images, STAND_IN, flips=[False, True])
    for flip, modality in ((f, m) for f in here for m in MODALITIES):
        assert np.array_equal(there[flip][modality], here[flip][modality])


def test_translations_are_scored_on_the_device(tiny, noise):
    images = {m: noise(12, k) for k, m in enumerate(MODALITIES)}
    ground_truths = {m: noise(12, k + 5) for k, m in enumerate(MODALITIES)}
    results = []
    for device in (CPU, STAND_IN):
        with stand_in_device():
            torch.manual_seed(0)
            features = FeatureExtractor.of_backbone(build_backbone(tiny.reid.backbone))
            held = HeldOutImages(images, ground_truths, dict.fromkeys(MODALITIES, features))
            config = override(tiny, {"dsgan.epochs": 1})
            task = DsganTask(
                config, grayscale(images["visible"]), images["infrared"], Roomy(device=device), held
            )
            (result,) = fit(task, task.worker)
            results.append((result.losses, result.metrics, result.preview))
    (*here, picture), (*there, same) = results
    assert {"psnr_visible", "ssim_infrared", "frechet_infrared"} <= here[1].keys()
    assert there == here and torch.equal(same, picture)


def test_a_backbone_pretrains_on_the_device(noise, tmp_path):
    backbone = BackboneConfig(architecture="resnet10", width=8, weights="synthetic")
    recipe = Recipe(identities=4, images=4, epochs=2, batch=8, lr=0.01)
    weights = SyntheticWeights(backbone, ImageConfig(height=32, width=16, padding=2), recipe)
    data = noise(16), torch.arange(4).repeat_interleave(4)
    here, there = tmp_path / "here.safetensors", tmp_path / "there.safetensors"
    with stand_in_device():
        results_there = figures(pretrain(weights, *data, there, Roomy(device=STAND_IN)))
    assert results_there == figures(pretrain(weights, *data, here, Worker()))
    assert same_files(there, here)


@pytest.mark.parametrize("kind", [Worker, Roomy])
@pytest.mark.parametrize("stage", ["dsgan", "reid"])
def test_a_step_waits_for_no_result_of_the_device(make_task, stage, kind):
    """The host prepares the next step while the device computes this one."""
    with stand_in_device() as mode:
        task: DsganTask | ReidTask = make_task(stage, worker=kind(device=STAND_IN))
        for epoch in (1, 2):  # the image pools are full in the second
            for batch in task.step_batches(epoch):
                mode.waited_for.clear()
                terms = task.step(batch)
                assert terms["total"].device == STAND_IN
                assert not mode.waited_for
