"""Both stages of a trial: which run, how they resume, and the files they write."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tsme.config import Config
from tsme.evaluation.evaluator import embed_trial
from tsme.models.backbone import build_backbone
from tsme.models.checkpoint import load_generators, load_model
from tsme.models.translate import translate
from tsme.settings import override
from tsme.training.distributed import Worker
from tsme.training.stages import run_stages
from tsme.training.trial import TrialTraining

CPU = torch.device("cpu")
ALL_EPOCHS = [("dsgan", 1), ("dsgan", 2), ("reid", 1), ("reid", 2)]


@pytest.fixture
def short(tiny: Config) -> Config:
    return override(tiny, {"dsgan.epochs": 2, "reid.epochs": 2})


@pytest.fixture
def training(short: Config, make_split, make_pixels, tmp_path: Path) -> TrialTraining:
    make_split(range(5, 9))  # identities to hold out; they must be on disk before the images are read
    return TrialTraining(short, 1, make_split(range(0, 5)), None, make_pixels(), tmp_path / "stages")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> dict[str, Path]:
    return {"folder": tmp_path_factory.mktemp("uninterrupted")}


@pytest.fixture
def uninterrupted(training: TrialTraining, finished: dict[str, Path]) -> TrialTraining:
    """The same training, run without interruption in its own folder."""
    copy_of = replace(training, folder=finished["folder"])
    list(run_stages(copy_of, Worker()))
    return copy_of


def epochs(results) -> list[tuple[str, int]]:
    return [(r.stage, r.epoch) for r in results]


def run_until(training: TrialTraining, stage: str, epoch: int, checkpoint=None):
    """Run run_until this epoch, stop, and return a copy of its checkpoint."""
    stream = run_stages(training, Worker(), checkpoint)
    for result in stream:
        if (result.stage, result.epoch) == (stage, epoch):
            stream.close()
            return copy.deepcopy(result.checkpoint)
    raise AssertionError(f"no epoch {epoch} of {stage}")


def same_tensors(one: Path, two: Path) -> bool:
    first, second = load_file(one), load_file(two)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_both_stages_run_once(training):
    assert not training.is_done()
    assert epochs(run_stages(training, Worker())) == ALL_EPOCHS
    assert training.is_done()
    assert set(training.folder.iterdir()) == {training.generators_file, training.model_file}
    assert epochs(run_stages(training, Worker())) == []


def test_training_again_in_another_folder_gives_the_same_weights(training, uninterrupted):
    list(run_stages(training, Worker()))
    assert same_tensors(training.generators_file, uninterrupted.generators_file)
    assert same_tensors(training.model_file, uninterrupted.model_file)


@pytest.mark.parametrize(
    ("stop", "remaining"),
    [
        (("dsgan", 1), ALL_EPOCHS[1:]),
        (("dsgan", 2), ALL_EPOCHS[2:]),  # yielded before its file is written
        (("reid", 1), ALL_EPOCHS[3:]),
        (("reid", 2), []),
    ],
)
def test_training_resumed_from_a_checkpoint_gives_the_same_weights(
    training, uninterrupted, stop, remaining
):
    checkpoint = run_until(training, *stop)
    assert training.generators_file.is_file() == (stop[0] == "reid")
    assert not training.model_file.is_file()
    assert epochs(run_stages(training, Worker(), checkpoint)) == remaining
    assert same_tensors(training.generators_file, uninterrupted.generators_file)
    assert same_tensors(training.model_file, uninterrupted.model_file)


def test_a_finished_stage_1_does_not_run_again_without_a_checkpoint(training, uninterrupted):
    run_until(training, "reid", 1)
    assert epochs(run_stages(training, Worker())) == ALL_EPOCHS[2:]
    assert same_tensors(training.model_file, uninterrupted.model_file)


def test_stage_2_ignores_a_checkpoint_of_stage_1(training, uninterrupted):
    """The process was killed between the stages: stage 1's file exists, stage 2 starts."""
    checkpoint = run_until(training, "dsgan", 2)
    run_until(training, "reid", 1, checkpoint)
    assert epochs(run_stages(training, Worker(), checkpoint)) == ALL_EPOCHS[2:]
    assert same_tensors(training.model_file, uninterrupted.model_file)


def test_two_configurations_of_stage_2_share_stage_1(training):
    list(run_stages(replace(training, only_generators=True), Worker()))
    other = replace(training, config=override(training.config, {"reid.loss.real": 0.5}))
    for one in (training, other):
        assert epochs(run_stages(one, Worker())) == ALL_EPOCHS[2:]
    assert not same_tensors(training.model_file, other.model_file)


def test_stage_1_alone_writes_only_generators(training):
    alone = replace(training, only_generators=True)
    assert alone.result_file == alone.generators_file
    assert epochs(run_stages(alone, Worker())) == ALL_EPOCHS[:2]
    assert alone.is_done() and not training.is_done()
    assert list(training.folder.iterdir()) == [training.generators_file]


def test_stored_translations_are_those_of_the_stored_generators(uninterrupted):
    generators, translations = load_generators(uninterrupted.generators_file, uninterrupted.config, CPU)
    images = uninterrupted.images.split(uninterrupted.train)
    for modality in ("visible", "infrared"):
        assert torch.equal(translations[modality], translate(generators, images[modality], modality, CPU))


def test_stage_2_does_not_change_the_generators(uninterrupted):
    before, _ = load_generators(uninterrupted.generators_file, uninterrupted.config, CPU)
    after = load_model(uninterrupted.model_file, CPU).generators
    for name, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[name]), name


def test_a_model_records_its_provenance(uninterrupted):
    provenance = load_model(uninterrupted.model_file, CPU).provenance
    assert provenance.config == uninterrupted.config
    assert (provenance.trial, provenance.fingerprint, provenance.key) == (
        1,
        "data1",
        uninterrupted.model_key,
    )
    assert provenance.train_identities == (0, 1, 2, 3, 4)


def test_with_validation_figures_are_measured_and_no_model_is_kept(training, make_split):
    """Four held-out identities: the figures are shares of 8 queries in either direction."""
    validated = replace(training, validation=make_split(range(5, 9)))
    results = list(run_stages(validated, Worker()))
    assert epochs(results) == ALL_EPOCHS
    for result in results[2:]:
        assert set(result.metrics) == {"lr", "val_rank1", "val_mAP", "val_mINP"}
        assert result.metrics["val_rank1"] * 16 == pytest.approx(round(result.metrics["val_rank1"] * 16))
        assert 0 < result.metrics["val_mINP"] <= 1 and 0 < result.metrics["val_mAP"] <= 1
    assert set(results[0].metrics) == {"lr"}
    assert list(training.folder.iterdir()) == [validated.generators_file]
    assert not validated.is_done()


def test_validation_does_not_change_training(training, uninterrupted, make_split):
    validated = replace(training, validation=make_split(range(5, 9)))
    with_validation = [r.losses for r in run_stages(validated, Worker())]
    without = replace(training, folder=training.folder / "without")
    assert with_validation == [r.losses for r in run_stages(without, Worker())]


def test_without_translations_there_is_no_stage_1(training: TrialTraining, make_split, noise):
    config = override(training.config, {"reid.translation": "none", "reid.iai": False})
    alone = replace(training, config=config)
    assert epochs(run_stages(alone, Worker())) == [("reid", 1), ("reid", 2)]
    assert not alone.generators_file.exists() and alone.model_key != training.model_key
    longer = override(config, {"dsgan.epochs": 9, "dsgan.loss.cycle": 3.0})
    assert replace(alone, config=longer).model_key == alone.model_key
    model = load_model(alone.model_file, CPU)
    assert model.generators is None
    images = {"visible": noise(3, 1), "infrared": noise(4, 2)}
    embeddings = embed_trial(model, images, CPU, flips=(False, True))[False]
    assert {m: x.shape for m, x in embeddings.items()} == {"visible": (3, 48), "infrared": (4, 48)}
    measured = replace(alone, validation=make_split(range(5, 9)))
    assert "val_mAP" in list(run_stages(measured, Worker()))[-1].metrics


def test_frechet_distances_use_a_pretrained_backbone(training: TrialTraining, make_split, tmp_path):
    torch.manual_seed(1)
    save_file(
        build_backbone(training.config.reid.backbone).state_dict(), tmp_path / "backbone.safetensors"
    )
    weights = {"reid.backbone.weights": str(tmp_path / "backbone.safetensors")}
    held = replace(
        training,
        config=override(training.config, weights),
        validation=make_split(range(5, 9)),
        only_generators=True,
    )
    results = list(run_stages(held, Worker()))
    assert all(set(r.metrics) == {"lr", "frechet_infrared", "frechet_visible"} for r in results)


def test_a_random_backbone_gives_no_frechet_distances(training: TrialTraining, make_split):
    held = replace(training, validation=make_split(range(5, 9)), only_generators=True)
    (*_, last) = run_stages(held, Worker())
    assert set(last.metrics) == {"lr"}
    (file,) = training.folder.glob("generators-*")
    plain = load_file(file)
    file.unlink()
    list(run_stages(replace(training, only_generators=True), Worker()))
    assert all(torch.equal(value, plain[name]) for name, value in load_file(file).items())
