"""RegDB's protocol: whose weights meet whose test people, and what the rows say."""

from __future__ import annotations

import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch

from tsme.config import Backbone, Config, Dsgan, Image, Reid
from tsme.data.records import Trial
from tsme.data.regdb import read_trial
from tsme.data.synth import generate_regdb
from tsme.errors import UserError
from tsme.evaluation.features import extract
from tsme.evaluation.ranking import RankingMetrics
from tsme.evaluation.trials import (
    FIGURES,
    Row,
    direction,
    evaluate_trial,
    load_split,
    measure_split,
    summarise,
    translate_split,
    validation_metrics,
)
from tsme.models.dsgan import Translators
from tsme.models.reid import TsmeNet
from tsme.models.translate import translate

CPU = torch.device("cpu")
DIRECTIONS = ("visible-to-infrared", "infrared-to-visible")


@pytest.fixture
def trial(make_split) -> Trial:
    """Trial 2: trains on people 0 to 3, tests on 4 to 9 with two images each."""
    return Trial(2, make_split(range(0, 4)), make_split(range(4, 10)))


def test_weights_of_another_trial_are_refused_naming_both(make_model, trial):
    # People 5 and 9 of (2, 5, 9) are among the six test people.
    with pytest.raises(UserError, match=r"trial 7 offered to trial 2.*2 of its 6 test people"):
        evaluate_trial(make_model(trial=7), trial, CPU)


def test_another_trials_weights_can_be_asked_for_and_what_they_saw_is_stated(make_model, trial):
    rows = evaluate_trial(make_model(trial=7), trial, CPU, cross_trial=True)
    assert [row.direction for row in rows] == list(DIRECTIONS)
    for row in rows:
        assert (row.trial, row.model_trial, row.model, row.seen_identities) == (2, 7, "key7", 2)


def test_rows_of_a_trials_own_weights(make_model, trial):
    model = make_model(trial=2, people=(0, 1, 2, 3))
    rows = evaluate_trial(model, trial, CPU)
    assert [row.direction for row in rows] == list(DIRECTIONS)
    images = load_split(model.origin.config, trial.test)
    for row, query, gallery in zip(rows, ("visible", "infrared"), ("infrared", "visible"), strict=True):
        assert (row.trial, row.model_trial, row.model, row.seen_identities) == (2, 2, "key2", 0)
        assert (row.queries, row.skipped_queries, row.gallery, row.test_identities) == (12, 0, 12, 6)
        assert (row.flip, row.rerank) == (False, False)
        described = {
            m: extract(model.network, images[m], translate(model.translators, images[m], m, CPU), m, CPU)
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


def test_evaluating_twice_gives_the_same_digits(make_model, trial):
    model = make_model(trial=2)
    assert evaluate_trial(model, trial, CPU) == evaluate_trial(model, trial, CPU)


def test_images_have_the_configured_size(tiny, trial):
    wide = tiny.model_copy(update={"image": Image(height=48, width=32)})
    images = load_split(wide, trial.test)
    assert {m: tuple(x.shape) for m, x in images.items()} == {
        "visible": (12, 3, 48, 32),
        "infrared": (12, 3, 48, 32),
    }
    assert not torch.equal(images["visible"], images["infrared"])


@pytest.mark.parametrize("training", [True, False])
def test_descriptors_come_from_evaluation_mode_without_trace(make_model, noise, training):
    network = make_model().network.train(training)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    images = noise(70)  # two chunks
    got = extract(network, images, 255 - images, "visible", CPU)
    assert network.training == training
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert (got.shape, got.dtype) == ((70, 48), torch.float32)
    with torch.no_grad():
        x = images[[3, 69]].float() / 255 * 2 - 1
        expected = network.eval().describe(x, -x, "visible")
    torch.testing.assert_close(got[[3, 69]], expected, rtol=1e-4, atol=1e-5)


def test_name_of_a_direction():
    assert [direction(m) for m in ("visible", "infrared")] == list(DIRECTIONS)


def test_validation_looks_at_the_mean_of_both_directions():
    def metrics(first: float, mean_precision: float, mean_penalty: float) -> RankingMetrics:
        return RankingMetrics(np.array([first, 1.0]), mean_precision, mean_penalty, 5, 0)

    got = validation_metrics({"visible": metrics(0.2, 0.3, 0.1), "infrared": metrics(0.4, 0.9, 0.2)})
    assert got == {
        "val_rank1": pytest.approx(0.3),
        "val_mAP": pytest.approx(0.6),
        "val_mINP": pytest.approx(0.15),
    }


def rows_of(count: int) -> list[Row]:
    rng = np.random.default_rng(3)
    return [
        Row(number, name, *(float(x) for x in rng.random(6)), 9, 0, 9, 3, "key", number, 0)
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


def test_a_single_trial_has_no_spread():
    (row, _) = rows_of(1)
    assert summarise([row])[row.direction]["mAP"] == {"mean": pytest.approx(row.mAP), "std": 0.0}
    assert summarise([replace(row, mAP=0.5)])[row.direction]["mAP"]["mean"] == 0.5


def test_untrained_networks_find_people_by_chance(tmp_path):
    """24 generated people, 12 of them tested with 3 images each in either modality.

    A random order puts one of 12 people first: Rank-1 is 1/12. One network has 2 x 36 queries, whose
    binomial deviation would be sqrt(1/12 * 11/12 / 72) = 0.033; over five networks 0.015. The margin
    is four of these, since the queries of one person are not independent. A leak through order, file
    or label would show as a multiple of chance.
    """
    generate_regdb(tmp_path / "data", identities=24, images=3, trials=1, size=(16, 32), workers=1)
    small = Backbone(architecture="resnet10", width=8, weights="none")
    config = Config(
        image=Image(height=32, width=16),
        dsgan=Dsgan(backbone=small),
        reid=Reid(backbone=small, embedding=16),
    )
    split = read_trial(tmp_path / "data", 1).test
    images = load_split(config, split)
    scores = []
    for seed in range(5):
        torch.manual_seed(seed)
        network, translators = TsmeNet(config.reid, 12), Translators(config.dsgan)
        translations = translate_split(translators, images, CPU)
        metrics = measure_split(network, images, translations, split, CPU)
        scores.append(validation_metrics(metrics)["val_rank1"])
    assert len(split.identities) == 12
    assert statistics.mean(scores) == pytest.approx(1 / 12, abs=0.06)
