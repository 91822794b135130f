"""A model measured by its data set's protocol: whose weights meet whose people, what rows say."""

from __future__ import annotations

import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

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
from tsme.synthetic.generate import generate_regdb

CPU = torch.device("cpu")
DIRECTIONS = ("visible-to-infrared", "infrared-to-visible")


def evaluated(
    model, trial: Trial, images, *, flip: bool = False, reranked: bool = False
) -> list[EvaluationResult]:
    """Both directions of a trial, as the workflow's tasks measure them."""
    described = embed_trial(model, images, CPU, flips=[flip])[flip]
    return [
        EvaluationResult.of(
            score_search(described, trial.test, search, reranked=reranked),
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
    """Trial 2: trains on people 0 to 3, tests on 4 to 9 with two images each."""
    return Trial(2, make_split(range(0, 4)), make_split(range(4, 10)))


def test_weights_of_another_trial_are_refused_naming_both(make_model, trial):
    # People 5 and 9 of (2, 5, 9) are among the six test identities.
    with pytest.raises(UserError, match=r"trial 7 offered to trial 2.*2 of its 6 test identities"):
        require_own_weights(make_model(trial=7).provenance, trial)
    require_own_weights(make_model(trial=2, people=(0, 1)).provenance, trial)


def test_weights_that_have_seen_test_people_are_refused_whatever_trial_they_are_of(make_model, trial):
    with pytest.raises(UserError, match="trained on 2 of the 6 test identities"):
        require_own_weights(make_model(trial=2).provenance, trial)


def test_what_another_trials_weights_saw_is_stated(make_model, trial, images):
    rows = evaluated(make_model(trial=7), trial, images)
    assert [row.direction for row in rows] == list(DIRECTIONS)
    for row in rows:
        assert (row.trial, row.model_trial, row.model, row.seen_identities) == (2, 7, "key7", 2)


def test_rows_of_a_trials_own_weights(make_model, trial, images):
    model = make_model(trial=2, people=(0, 1, 2, 3))
    rows = evaluated(model, trial, images)
    assert [row.direction for row in rows] == list(DIRECTIONS)
    for row, query, gallery in zip(rows, ("visible", "infrared"), ("infrared", "visible"), strict=True):
        assert (row.trial, row.model_trial, row.model, row.seen_identities) == (2, 2, "key2", 0)
        assert (row.queries, row.skipped_queries, row.gallery, row.test_identities) == (12, 0, 12, 6)
        assert (row.flip, row.rerank, row.draw, row.protocol) == (False, False, None, row.direction)
        described = {
            m: embed_images(
                model.network, images[m], translate(model.generators, images[m], m, CPU), m, CPU
            )
            for m in (query, gallery)
        }
        hits = 0
        for person, feature in zip(trial.test[query].identities, described[query], strict=True):
            best = int((described[gallery] @ feature).argmax())
            hits += int(trial.test[gallery].identities[best] == person)
        assert row.rank1 == pytest.approx(hits / 12)
        assert row.rank1 <= row.rank5 <= row.rank10 <= row.rank20 == 1
        assert 0 < row.mINP <= row.mAP <= 1
        assert row.to_json()["mAP"] == row.mAP


def test_evaluating_twice_gives_the_same_digits(make_model, trial, images):
    model = make_model(trial=2)
    assert evaluated(model, trial, images) == evaluated(model, trial, images)


def test_flip_and_re_ranking_change_figures_and_are_named_in_the_row(make_model, trial, images):
    model = make_model(trial=2)
    plain, flipped, reranked, both = (
        evaluated(model, trial, images, flip=flip, reranked=again)
        for again in (False, True)
        for flip in (False, True)
    )
    names = [rows[0].protocol for rows in (plain, flipped, reranked, both)]
    extras = ["", " with flip", " with re-ranking", " with flip and re-ranking"]
    assert names == [f"visible-to-infrared{extra}" for extra in extras]
    figures = [[(row.mAP, row.mINP) for row in rows] for rows in (plain, flipped, reranked)]
    assert figures[0] != figures[1] and figures[0] != figures[2]


def test_mirror_averaged_descriptors_against_their_definition(make_model, images):
    model = make_model()
    network = model.network
    translations = translate_split(model.generators, images, CPU)
    got = embed_split(network, images, translations, CPU, flip=True)["visible"]
    plain = embed_images(network, images["visible"], translations["visible"], "visible", CPU)
    mirrored = embed_images(
        network, images["visible"].flip(-1), translations["visible"].flip(-1), "visible", CPU
    )
    for row, one, other in zip(torch.from_numpy(got), plain, mirrored, strict=True):
        for stripe, first, second in zip(row.split(8), one.split(8), other.split(8), strict=True):
            torch.testing.assert_close(stripe, F.normalize(first + second, dim=0))
    assert not torch.allclose(torch.from_numpy(got), plain)


def test_bfloat16_descriptors_are_close_and_of_length_one(make_model, images):
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
def test_descriptors_come_from_evaluation_mode_without_trace(make_model, noise, training):
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


def test_name_of_a_direction():
    assert [direction(m) for m in ("visible", "infrared")] == list(DIRECTIONS)


def test_validation_looks_at_the_mean_of_the_data_sets_directions(make_model, trial, images):
    model = make_model(trial=2)
    translations = translate_split(model.generators, images, CPU)
    rows = evaluated(model, trial, images)
    for dataset, expected in (("regdb", rows), ("sysu", rows[1:])):
        got = validate(model.network, images, translations, trial.test, dataset, CPU)
        assert got == {
            f"val_{figure}": pytest.approx(np.mean([getattr(row, figure) for row in expected]))
            for figure in ("rank1", "mAP", "mINP")
        }


def rows_of(count: int) -> list[EvaluationResult]:
    rng = np.random.default_rng(3)
    return [
        EvaluationResult(number, name, *(float(x) for x in rng.random(6)), 9, 0, 9, 3, "key", number, 0)
        for number in range(1, count + 1)
        for name in DIRECTIONS
    ]


@pytest.mark.parametrize("count", [2, 3, 10])
def test_summary_is_mean_and_sample_deviation_by_direction(count):
    rows = rows_of(count)
    summary = summarise(rows)
    assert list(summary) == list(DIRECTIONS)
    for name in DIRECTIONS:
        assert list(summary[name]) == list(FIGURES)
        for figure in FIGURES:
            values = [getattr(row, figure) for row in rows if row.direction == name]
            expected = {"mean": statistics.mean(values), "std": statistics.stdev(values)}
            assert summary[name][figure] == pytest.approx(expected)


def test_summary_keeps_what_is_measured_differently_apart():
    (row, _) = rows_of(1)
    drawn = [
        replace(row, mode=mode, shots="single", draw=draw, mAP=mAP, rerank=again)
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


def test_a_single_trial_has_no_spread():
    (row, _) = rows_of(1)
    assert summarise([row])[row.direction]["mAP"] == {"mean": pytest.approx(row.mAP), "std": None}
    assert summarise([replace(row, mAP=0.5)])[row.direction]["mAP"]["mean"] == 0.5


def test_untrained_networks_find_people_by_chance(tmp_path):
    """24 generated people, 12 of them tested with 3 images each in either modality.

    A random order puts one of 12 people first: Rank-1 is 1/12. One network has 2 x 36 queries, whose
    binomial deviation would be sqrt(1/12 * 11/12 / 72) = 0.033; over five networks 0.015. The margin
    is four of these, since the queries of one person are not independent. A leak through order, file
    or label would show as a multiple of chance.
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


def test_descriptors_in_float32_are_not_of_tf32(make_model, images):
    network, seen = make_model().network, []
    network.streams["visible"][0].register_forward_pre_hook(
        lambda *_: seen.append(torch.backends.cudnn.allow_tf32)
    )
    embed_images(network, images["visible"], images["visible"], "visible", CPU)
    assert seen and not any(seen)
