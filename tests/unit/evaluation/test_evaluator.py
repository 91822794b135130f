"""Evaluation of a model by its data set's protocol: which weights are allowed, what results hold."""

from __future__ import annotations

import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.support.synthetic_regdb import generate_regdb
from tsme.config import BackboneConfig, Config, DsganConfig, ImageConfig, ReidConfig
from tsme.data.datasets.regdb import read_regdb
from tsme.data.image_cache import ImageCache
from tsme.data.types import Trial
from tsme.errors import UserError
from tsme.evaluation.evaluator import (
    embed_trial,
    require_own_weights,
    score_search,
    translate_split,
    validate,
)
from tsme.evaluation.features import embed_images, embed_split
from tsme.evaluation.protocols import direction, full_searches
from tsme.evaluation.results import FIGURES, EvaluationResult, summarise
from tsme.models.dsgan import Generators
from tsme.models.reid import TsmeNet
from tsme.models.translate import translate

CPU = torch.device("cpu")
DIRECTIONS = ("visible-to-infrared", "infrared-to-visible")


def evaluate_trial(
    model, trial: Trial, images, *, flip: bool = False, reranked: bool = False
) -> list[EvaluationResult]:
    """Results of both directions of a trial, computed as the workflow's tasks do."""
    embeddings = embed_trial(model, images, CPU, flips=[flip])[flip]
    return [
        EvaluationResult.of(
            score_search(embeddings, trial.test, search, reranked=reranked),
            search,
            trial,
            model.provenance,
            flip=flip,
            rerank=reranked,
        )
        for search in full_searches("regdb", trial.test)
    ]


@pytest.fixture
def images(trial: Trial, make_pixels):
    return make_pixels().split(trial.test)


@pytest.fixture
def trial(make_split) -> Trial:
    """Trial 2: identities 0 to 3 for training, 4 to 9 for testing, with two images each."""
    return Trial(2, make_split(range(0, 4)), make_split(range(4, 10)))


def test_weights_of_another_trial_are_refused(make_model, trial):
    # Identities 5 and 9 of (2, 5, 9) are among the six test identities.
    with pytest.raises(UserError, match=r"trial 7 offered to trial 2.*2 of its 6 test identities"):
        require_own_weights(make_model(trial=7).provenance, trial)
    require_own_weights(make_model(trial=2, identities=(0, 1)).provenance, trial)


def test_weights_trained_on_test_identities_are_refused(make_model, trial):
    with pytest.raises(UserError, match="trained on 2 of the 6 test identities"):
        require_own_weights(make_model(trial=2).provenance, trial)


def test_results_state_test_identities_seen_in_training(make_model, trial, images):
    results = evaluate_trial(make_model(trial=7), trial, images)
    assert [result.direction for result in results] == list(DIRECTIONS)
    for result in results:
        assert (result.trial, result.model_trial, result.model, result.seen_identities) == (
            2,
            7,
            "key7",
            2,
        )


def test_results_of_a_trials_own_weights(make_model, trial, images):
    model = make_model(trial=2, identities=(0, 1, 2, 3))
    results = evaluate_trial(model, trial, images)
    assert [result.direction for result in results] == list(DIRECTIONS)
    for result, query, gallery in zip(
        results, ("visible", "infrared"), ("infrared", "visible"), strict=True
    ):
        assert (result.trial, result.model_trial, result.model, result.seen_identities) == (
            2,
            2,
            "key2",
            0,
        )
        assert (result.queries, result.skipped_queries, result.gallery, result.test_identities) == (
            12,
            0,
            12,
            6,
        )
        assert (result.flip, result.rerank, result.draw, result.protocol) == (
            False,
            False,
            None,
            result.direction,
        )
        embeddings = {
            m: embed_images(
                model.network, images[m], translate(model.generators, images[m], m, CPU), m, CPU
            )
            for m in (query, gallery)
        }
        hits = 0
        for identity, feature in zip(trial.test[query].identities, embeddings[query], strict=True):
            best = int((embeddings[gallery] @ feature).argmax())
            hits += int(trial.test[gallery].identities[best] == identity)
        assert result.rank1 == pytest.approx(hits / 12)
        assert result.rank1 <= result.rank5 <= result.rank10 <= result.rank20 == 1
        assert 0 < result.mINP <= 1 and 0 < result.mAP <= 1
        assert result.to_json()["mAP"] == result.mAP


def test_evaluating_twice_gives_equal_results(make_model, trial, images):
    model = make_model(trial=2)
    assert evaluate_trial(model, trial, images) == evaluate_trial(model, trial, images)


def test_flip_and_re_ranking_change_figures_and_are_named_in_the_result(make_model, trial, images):
    model = make_model(trial=2)
    plain, flipped, reranked, both = (
        evaluate_trial(model, trial, images, flip=flip, reranked=again)
        for again in (False, True)
        for flip in (False, True)
    )
    names = [results[0].protocol for results in (plain, flipped, reranked, both)]
    extras = ["", " with flip", " with re-ranking", " with flip and re-ranking"]
    assert names == [f"visible-to-infrared{extra}" for extra in extras]
    figures = [
        [(result.mAP, result.mINP) for result in results] for results in (plain, flipped, reranked)
    ]
    assert figures[0] != figures[1] and figures[0] != figures[2]


def test_flipped_embeddings_equal_their_definition(make_model, images):
    model = make_model()
    network = model.network
    translations = translate_split(model.generators, images, CPU)
    got = embed_split(network, images, translations, CPU, flip=True)["visible"]
    plain = embed_images(network, images["visible"], translations["visible"], "visible", CPU)
    mirrored = embed_images(
        network, images["visible"].flip(-1), translations["visible"].flip(-1), "visible", CPU
    )
    for embedding, one, other in zip(torch.from_numpy(got), plain, mirrored, strict=True):
        for stripe, first, second in zip(embedding.split(8), one.split(8), other.split(8), strict=True):
            torch.testing.assert_close(stripe, F.normalize(first + second, dim=0))
    assert not torch.allclose(torch.from_numpy(got), plain)


def test_bfloat16_embeddings_are_close_and_normalised(make_model, images):
    model = make_model()
    single, half = (
        embed_trial(model, images, CPU, flips=[True], precision=precision)[True]
        for precision in ("float32", "bfloat16")
    )
    for modality, expected in single.items():
        got = half[modality]
        assert got.dtype == expected.dtype == np.float32
        assert 0 < np.abs(got - expected).max() < 0.1
        lengths = np.linalg.norm(got.reshape(len(got), 6, -1), axis=2)
        np.testing.assert_allclose(lengths, 1, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_embedding_uses_evaluation_mode_and_changes_nothing(make_model, noise, training):
    network = make_model().network.train(training)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    images = noise(70)  # two chunks
    got = embed_images(network, images, 255 - images, "visible", CPU)
    assert network.training == training
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert (got.shape, got.dtype) == ((70, 48), torch.float32)
    with torch.no_grad():
        x = images[[3, 69]].float() / 255 * 2 - 1
        expected = network.eval().embed(x, -x, "visible")
    torch.testing.assert_close(got[[3, 69]], expected, rtol=1e-4, atol=1e-5)


def test_names_of_directions():
    assert [direction(m) for m in ("visible", "infrared")] == list(DIRECTIONS)


def test_validation_is_the_mean_over_the_data_sets_directions(make_model, trial, images):
    model = make_model(trial=2)
    translations = translate_split(model.generators, images, CPU)
    results = evaluate_trial(model, trial, images)
    for dataset, expected in (("regdb", results), ("sysu", results[1:])):
        got = validate(model.network, images, translations, trial.test, dataset, CPU)
        assert got == {
            f"val_{figure}": pytest.approx(np.mean([getattr(result, figure) for result in expected]))
            for figure in ("rank1", "mAP", "mINP")
        }


def make_results(count: int) -> list[EvaluationResult]:
    rng = np.random.default_rng(3)
    return [
        EvaluationResult(number, name, *(float(x) for x in rng.random(6)), 9, 0, 9, 3, "key", number, 0)
        for number in range(1, count + 1)
        for name in DIRECTIONS
    ]


@pytest.mark.parametrize("count", [2, 3, 10])
def test_a_summary_holds_mean_and_sample_deviation_by_direction(count):
    results = make_results(count)
    summary = summarise(results)
    assert list(summary) == list(DIRECTIONS)
    for name in DIRECTIONS:
        assert list(summary[name]) == list(FIGURES)
        for figure in FIGURES:
            values = [getattr(result, figure) for result in results if result.direction == name]
            expected = {"mean": statistics.mean(values), "std": statistics.stdev(values)}
            assert summary[name][figure] == pytest.approx(expected)


def test_a_summary_separates_protocols():
    (result, _) = make_results(1)
    drawn = [
        replace(result, mode=mode, shots="single", draw=draw, mAP=mAP, rerank=again)
        for mode, draw, mAP, again in [
            ("all", 0, 0.2, False),
            ("all", 1, 0.4, False),
            ("indoor", 0, 0.5, False),
            ("all", 0, 0.9, True),
        ]
    ]
    means = {name: figures["mAP"]["mean"] for name, figures in summarise(drawn).items()}
    assert means == {
        "all-search single-shot": pytest.approx(0.3),
        "indoor-search single-shot": 0.5,
        "all-search single-shot with re-ranking": 0.9,
    }


def test_a_single_trial_has_no_standard_deviation():
    (result, _) = make_results(1)
    assert summarise([result])[result.direction]["mAP"] == {
        "mean": pytest.approx(result.mAP),
        "std": None,
    }
    assert summarise([replace(result, mAP=0.5)])[result.direction]["mAP"]["mean"] == 0.5


def test_untrained_networks_find_identities_by_chance(tmp_path):
    """24 synthetic identities, 12 of them for testing, with 3 images each in each modality.

    With a random order Rank-1 is 1/12. One network has 2 x 36 queries, whose binomial deviation is
    sqrt(1/12 * 11/12 / 72) = 0.033, and over five networks 0.015. The tolerance is four times that,
    because queries of one identity are not independent. A leak through order, file names or labels
    would give a multiple of chance.
    """
    generate_regdb(tmp_path / "data", identities=24, images=3, trials=1, size=(16, 32), workers=1)
    small = BackboneConfig(architecture="resnet10", width=8, weights="none")
    config = Config(
        image=ImageConfig(height=32, width=16),
        dsgan=DsganConfig(backbone=small),
        reid=ReidConfig(backbone=small, embedding=16),
    )
    dataset = read_regdb(tmp_path / "data")
    split = dataset.trial(1).test
    images = ImageCache(dataset, "untrained", 32, 16).split(split)
    scores = []
    for seed in range(5):
        torch.manual_seed(seed)
        network, generators = TsmeNet(config.reid, 12), Generators(config.dsgan)
        translations = translate_split(generators, images, CPU)
        figures = validate(network, images, translations, split, "regdb", CPU)
        scores.append(figures["val_rank1"])
    assert len(split.identities) == 12
    assert statistics.mean(scores) == pytest.approx(1 / 12, abs=0.06)


def test_embeddings_in_float32_do_not_use_tf32(make_model, images):
    network, seen = make_model().network, []
    network.streams["visible"][0].register_forward_pre_hook(
        lambda *_: seen.append(torch.backends.cudnn.allow_tf32)
    )
    embed_images(network, images["visible"], images["visible"], "visible", CPU)
    assert seen and not any(seen)
