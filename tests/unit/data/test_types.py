"""Image lists and their division by identity."""

from __future__ import annotations

import numpy as np
import pytest

from tsme.data.types import MODALITIES, ImageList, Split, Trial, class_labels, hold_out, other
from tsme.errors import UserError

VISIBLE = [30, 10, 10, 20, 30, 50, 40]
INFRARED = [20, 40, 10, 30, 60, 30]


def images(modality, identities) -> ImageList:
    paths = tuple(f"{modality}/{k}" for k in range(len(identities)))
    identities = np.array(identities, dtype=np.int64)
    return ImageList(modality, paths, identities, identities + 1000)


def split(visible=tuple(VISIBLE), infrared=tuple(INFRARED)) -> Split:
    return Split(images("visible", visible), images("infrared", infrared))


def trial(train: Split, validation: tuple[int, ...] = ()) -> Trial:
    return Trial(1, train, train.keep([]), validation)


def test_each_modality_is_the_other_of_the_other():
    assert [other(m) for m in MODALITIES] == ["infrared", "visible"]


def test_keep_preserves_order_and_pairs_of_path_and_identity():
    kept = split().visible.keep([10, 30, 99])
    assert kept.paths == ("visible/0", "visible/1", "visible/2", "visible/4")
    assert kept.identities.tolist() == [30, 10, 10, 30]
    assert kept.cameras.tolist() == [1030, 1010, 1010, 1030]
    assert (kept.modality, len(kept)) == ("visible", 4)


def test_keep_of_no_identity_is_empty():
    assert len(split().visible.keep([])) == 0


def test_keep_of_a_split_takes_an_iterator_once_for_both_modalities():
    kept = split().keep(iter([20, 40]))
    assert kept["visible"].identities.tolist() == [20, 40]
    assert kept["infrared"].identities.tolist() == [20, 40]


def test_identities_of_a_split_are_in_both_modalities_and_sorted():
    assert split().identities == [10, 20, 30, 40]
    assert all(type(identity) is int for identity in split().identities)


def test_class_labels_are_places_in_the_list_of_identities():
    labels = class_labels(images("visible", [30, 10, 10, 20]), [10, 20, 30])
    assert labels.tolist() == [2, 0, 0, 1]


IDENTITIES = list(range(100, 120))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("fraction", "held"), [(0.2, 4), (0.5, 10), (0.01, 2), (0.99, 18), (0.33, 7)])
def test_hold_out_divides_identities(fraction, held, seed):
    whole = trial(split(np.repeat(IDENTITIES, 3), np.repeat(IDENTITIES, 2)))
    fit, validation = hold_out(whole, fraction, seed)
    assert len(validation.identities) == held
    assert sorted(fit.identities + validation.identities) == IDENTITIES
    for part in (fit, validation):
        for modality, count in (("visible", 3), ("infrared", 2)):
            identities, counts = np.unique(part[modality].identities, return_counts=True)
            assert identities.tolist() == part.identities
            assert set(counts.tolist()) == {count}


def test_hold_out_depends_on_the_seed():
    whole = trial(split(IDENTITIES, IDENTITIES))
    draws = [tuple(hold_out(whole, 0.3, seed)[1].identities) for seed in (0, 0, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 4


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_hold_out_of_fewer_than_four_identities_is_a_user_error(count):
    with pytest.raises(UserError, match=f"{count} training identities.*at least 4"):
        hold_out(trial(split(IDENTITIES[:count], IDENTITIES[:count])), 0.5, 0)


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_hold_out_leaves_two_identities_on_either_side(fraction):
    fit, validation = hold_out(trial(split(IDENTITIES[:4], IDENTITIES[:4])), fraction, 0)
    assert len(fit.identities) == len(validation.identities) == 2


@pytest.mark.parametrize("seed", [0, 1])
def test_the_validation_list_of_a_data_set_is_used(seed):
    whole = trial(split(IDENTITIES, IDENTITIES), validation=(103, 107, 119, 999))
    fit, validation = hold_out(whole, 0.5, seed)
    assert validation.identities == [103, 107, 119]
    assert fit.identities == [identity for identity in IDENTITIES if identity not in (103, 107, 119)]


@pytest.mark.parametrize("listed", [(103,), tuple(IDENTITIES[:-1]), (999, 998)])
def test_a_validation_list_that_leaves_too_few_on_either_side_is_a_user_error(listed):
    whole = trial(split(IDENTITIES, IDENTITIES), validation=listed)
    with pytest.raises(UserError, match=f"{len(listed)} of 20 training identities are listed"):
        hold_out(whole, 0.5, 0)


def test_identities_in_either_modality():
    assert split().all_identities == {10, 20, 30, 40, 50, 60}


def test_an_identity_without_a_class_is_an_error():
    with pytest.raises(AssertionError):
        class_labels(images("visible", [30, 10, 15]), [10, 20, 30])
