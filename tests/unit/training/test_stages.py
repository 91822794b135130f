"""Both stages of a trial: names of results, resuming, and what is left behind."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tsme.config import Config, override
from tsme.evaluation.evaluator import embed_trial
from tsme.models.backbone import build_backbone
from tsme.models.checkpoint import load_generators, load_model
from tsme.models.translate import translate
from tsme.training.distributed import Worker
from tsme.training.stages import run_stages
from tsme.training.trial import TrialTraining

CPU = torch.device("cpu")
WHOLE = [("dsgan", 1), ("dsgan", 2), ("reid", 1), ("reid", 2)]


@pytest.fixture
def short(tiny: Config) -> Config:
    return override(tiny, {"dsgan.epochs": 2, "reid.epochs": 2})


@pytest.fixture
def chain(short: Config, make_split, make_pixels, tmp_path: Path) -> TrialTraining:
    make_split(range(5, 9))  # people to hold out, on disk before the images are first read
    return TrialTraining(short, 1, make_split(range(0, 5)), None, make_pixels(), tmp_path / "products")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> dict[str, Path]:
    return {"folder": tmp_path_factory.mktemp("undisturbed")}


@pytest.fixture
def undisturbed(chain: TrialTraining, finished: dict[str, Path]) -> TrialTraining:
    """The same chain, run from end to end in a folder of its own."""
    whole = replace(chain, folder=finished["folder"])
    list(run_stages(whole, Worker()))
    return whole


def epochs(results) -> list[tuple[str, int]]:
    return [(r.stage, r.epoch) for r in results]


def until(chain: TrialTraining, stage: str, epoch: int, checkpoint=None):
    """Run up to this epoch and stop there; its checkpoint as it would be saved."""
    stream = run_stages(chain, Worker(), checkpoint)
    for result in stream:
        if (result.stage, result.epoch) == (stage, epoch):
            stream.close()
            return copy.deepcopy(result.checkpoint)
    raise AssertionError("never came")


def same_tensors(one: Path, two: Path) -> bool:
    first, second = load_file(one), load_file(two)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize(
    ("key", "value", "stage1", "stage2"),
    [
        ("reid.optimizer.lr", 0.5, False, True),
        ("reid.loss.hetero_centre", 0.1, False, True),
        ("reid.backbone.width", 16, False, True),
        ("reid.epochs", 9, False, True),
        ("dsgan.loss.cycle", 1.0, True, True),
        ("dsgan.epochs", 9, True, True),
        ("dsgan.image_pool", 9, True, True),
        ("image.padding", 3, True, True),
        ("image.height", 48, True, True),
        ("seed", 99, True, True),
        ("resources.workers", 2, True, True),
        ("resources.gpus", 1, False, False),
        ("resources.cpus", 2, False, False),
        ("sweep.grace_epochs", 2, False, False),
        ("sweep.concurrent", 2, False, False),
        ("validation.fraction", 0.4, False, False),
    ],
)
def test_results_are_named_by_the_settings_they_depend_on(chain, key, value, stage1, stage2):
    other = replace(chain, config=override(chain.config, {key: value}))
    assert (other.generators_key != chain.generators_key) == stage1
    assert (other.model_key != chain.model_key) == stage2


def test_results_are_named_by_trial_data_and_people(chain, make_split, make_pixels):
    others = [
        replace(chain, trial=2),
        replace(chain, images=make_pixels("data2")),
        replace(chain, train=make_split(range(0, 6))),
        replace(chain, train=make_split(range(1, 6))),
    ]
    assert len({c.generators_key for c in (chain, *others)}) == 5
    assert len({c.model_key for c in (chain, *others)}) == 5
    held_out = [replace(chain, validation=make_split(range(6, last))) for last in (8, 9)]
    assert {c.generators_key for c in held_out} == {chain.generators_key}
    assert len({chain.model_key, *(c.model_key for c in held_out)}) == 3


def test_results_are_not_named_by_where_they_lie_or_what_else_is_asked_for(chain, tmp_path):
    for same in (replace(chain, folder=tmp_path / "elsewhere"), replace(chain, only_generators=True)):
        assert (same.generators_key, same.model_key) == (chain.generators_key, chain.model_key)


def test_a_chain_runs_both_stages_once(chain):
    assert not chain.is_done()
    assert epochs(run_stages(chain, Worker())) == WHOLE
    assert chain.is_done()
    assert set(chain.folder.iterdir()) == {chain.generators_file, chain.model_file}
    assert epochs(run_stages(chain, Worker())) == []


def test_repeating_a_chain_elsewhere_gives_the_same_weights(chain, undisturbed):
    list(run_stages(chain, Worker()))
    assert same_tensors(chain.generators_file, undisturbed.generators_file)
    assert same_tensors(chain.model_file, undisturbed.model_file)


@pytest.mark.parametrize(
    ("stop", "left"),
    [
        (("dsgan", 1), WHOLE[1:]),
        (("dsgan", 2), WHOLE[2:]),  # yielded before its file is written
        (("reid", 1), WHOLE[3:]),
        (("reid", 2), []),
    ],
)
def test_a_chain_continues_from_its_checkpoint_to_the_same_weights(chain, undisturbed, stop, left):
    checkpoint = until(chain, *stop)
    assert chain.generators_file.is_file() == (stop[0] == "reid")
    assert not chain.model_file.is_file()
    assert epochs(run_stages(chain, Worker(), checkpoint)) == left
    assert same_tensors(chain.generators_file, undisturbed.generators_file)
    assert same_tensors(chain.model_file, undisturbed.model_file)


def test_a_finished_stage_one_is_not_repeated_without_a_checkpoint(chain, undisturbed):
    until(chain, "reid", 1)
    assert epochs(run_stages(chain, Worker())) == WHOLE[2:]
    assert same_tensors(chain.model_file, undisturbed.model_file)


def test_a_checkpoint_of_stage_one_does_not_touch_stage_two(chain, undisturbed):
    """The process ended between the stages: stage 1's file is there, stage 2 starts."""
    checkpoint = until(chain, "dsgan", 2)
    until(chain, "reid", 1, checkpoint)
    assert epochs(run_stages(chain, Worker(), checkpoint)) == WHOLE[2:]
    assert same_tensors(chain.model_file, undisturbed.model_file)


def test_another_stage_two_takes_the_same_stage_one(chain):
    list(run_stages(replace(chain, only_generators=True), Worker()))
    other = replace(chain, config=override(chain.config, {"reid.loss.real": 0.5}))
    for one in (chain, other):
        assert epochs(run_stages(one, Worker())) == WHOLE[2:]
    assert not same_tensors(chain.model_file, other.model_file)


def test_stage_one_alone_leaves_translators_alone(chain):
    alone = replace(chain, only_generators=True)
    assert alone.result_file == alone.generators_file
    assert epochs(run_stages(alone, Worker())) == WHOLE[:2]
    assert alone.is_done() and not chain.is_done()
    assert list(chain.folder.iterdir()) == [chain.generators_file]


def test_translations_are_those_of_the_translators_in_the_file(undisturbed):
    generators, translations = load_generators(undisturbed.generators_file, undisturbed.config, CPU)
    images = undisturbed.images.split(undisturbed.train)
    for modality in ("visible", "infrared"):
        assert torch.equal(translations[modality], translate(generators, images[modality], modality, CPU))


def test_stage_two_leaves_the_translators_as_stage_one_made_them(undisturbed):
    before, _ = load_generators(undisturbed.generators_file, undisturbed.config, CPU)
    after = load_model(undisturbed.model_file, CPU).generators
    for name, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[name]), name


def test_the_model_says_where_it_comes_from(undisturbed):
    provenance = load_model(undisturbed.model_file, CPU).provenance
    assert provenance.config == undisturbed.config
    assert (provenance.trial, provenance.fingerprint, provenance.key) == (
        1,
        "data1",
        undisturbed.model_key,
    )
    assert provenance.train_identities == (0, 1, 2, 3, 4)


def test_a_validated_chain_is_measured_and_not_kept(chain, make_split):
    """Four held-out identities: the figures are shares of 8 queries in either direction."""
    validated = replace(chain, validation=make_split(range(5, 9)))
    results = list(run_stages(validated, Worker()))
    assert epochs(results) == WHOLE
    for result in results[2:]:
        assert set(result.metrics) == {"lr", "val_rank1", "val_mAP", "val_mINP"}
        assert result.metrics["val_rank1"] * 16 == pytest.approx(round(result.metrics["val_rank1"] * 16))
        assert 0 < result.metrics["val_mINP"] <= 1 and 0 < result.metrics["val_mAP"] <= 1
    assert set(results[0].metrics) == {"lr"}
    assert list(chain.folder.iterdir()) == [validated.generators_file]
    assert not validated.is_done()


def test_validation_does_not_change_what_is_learnt(chain, undisturbed, make_split):
    validated = replace(chain, validation=make_split(range(5, 9)))
    with_it = [r.losses for r in run_stages(validated, Worker())]
    without = replace(chain, folder=chain.folder / "without")
    assert with_it == [r.losses for r in run_stages(without, Worker())]


def test_without_translations_there_is_no_first_stage(chain: TrialTraining, make_split, noise):
    config = override(chain.config, {"reid.pwif": False, "reid.iai": False})
    alone = replace(chain, config=config)
    assert epochs(run_stages(alone, Worker())) == [("reid", 1), ("reid", 2)]
    assert not alone.generators_file.exists() and alone.model_key != chain.model_key
    longer = override(config, {"dsgan.epochs": 9, "dsgan.loss.cycle": 3.0})
    assert replace(alone, config=longer).model_key == alone.model_key
    model = load_model(alone.model_file, CPU)
    assert model.generators is None
    images = {"visible": noise(3, 1), "infrared": noise(4, 2)}
    found = embed_trial(model, images, CPU, flips=(False, True))[False]
    assert {m: x.shape for m, x in found.items()} == {"visible": (3, 48), "infrared": (4, 48)}
    measured = replace(alone, validation=make_split(range(5, 9)))
    assert "val_mAP" in list(run_stages(measured, Worker()))[-1].metrics


def test_translators_are_compared_in_a_trunk_that_knows_something(
    chain: TrialTraining, make_split, tmp_path
):
    torch.manual_seed(1)
    save_file(build_backbone(chain.config.reid.backbone).state_dict(), tmp_path / "backbone.safetensors")
    weights = {"reid.backbone.weights": str(tmp_path / "backbone.safetensors")}
    held = replace(
        chain,
        config=override(chain.config, weights),
        validation=make_split(range(5, 9)),
        only_generators=True,
    )
    results = list(run_stages(held, Worker()))
    assert all(set(r.metrics) == {"lr", "frechet_infrared", "frechet_visible"} for r in results)


def test_translators_of_people_held_out_are_not_compared_in_a_trunk_that_knows_nothing(
    chain: TrialTraining, make_split
):
    held = replace(chain, validation=make_split(range(5, 9)), only_generators=True)
    (*_, last) = run_stages(held, Worker())
    assert set(last.metrics) == {"lr"}
    (file,) = chain.folder.glob("generators-*")
    plain = load_file(file)
    file.unlink()
    list(run_stages(replace(chain, only_generators=True), Worker()))
    assert all(torch.equal(value, plain[name]) for name, value in load_file(file).items())
