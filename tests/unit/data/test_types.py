"""Lists of images and their division by people."""

from __future__ import annotations

import numpy as np
import pytest

from tsme.data.types import MODALITIES, ImageList, Split, Trial, class_labels, hold_out, other
from tsme.errors import UserError

VISIBLE = [30, 10, 10, 20, 30, 50, 40]
INFRARED = [20, 40, 10, 30, 60, 30]


def images(modality, identities) -> ImageList:
    paths = tuple(f"{modality}/{k}" for k in range(len(identities)))
    people = np.array(identities, dtype=np.int64)
    return ImageList(modality, paths, people, people + 1000)


def split(visible=tuple(VISIBLE), infrared=tuple(INFRARED)) -> Split:
    return Split(images("visible", visible), images("infrared", infrared))


def trial(train: Split, validation: tuple[int, ...] = ()) -> Trial:
    return Trial(1, train, train.keep([]), validation)


def test_modalities_are_each_others_other():
    assert [other(m) for m in MODALITIES] == ["infrared", "visible"]


def test_keep_leaves_order_and_pairs_of_path_and_person():
    kept = split().visible.keep([10, 30, 99])
    assert kept.paths == ("visible/0", "visible/1", "visible/2", "visible/4")
    assert kept.identities.tolist() == [30, 10, 10, 30]
    assert kept.cameras.tolist() == [1030, 1010, 1010, 1030]
    assert (kept.modality, len(kept)) == ("visible", 4)


def test_keep_of_nobody_is_empty():
    assert len(split().visible.keep([])) == 0


def test_keep_of_a_split_takes_an_iterator_once_for_both_modalities():
    kept = split().keep(iter([20, 40]))
    assert kept["visible"].identities.tolist() == [20, 40]
    assert kept["infrared"].identities.tolist() == [20, 40]


def test_people_of_a_split_are_those_in_both_modalities_sorted():
    assert split().identities == [10, 20, 30, 40]
    assert all(type(person) is int for person in split().identities)


def test_class_labels_number_people_by_their_place():
    labels = class_labels(images("visible", [30, 10, 10, 20]), [10, 20, 30])
    assert labels.tolist() == [2, 0, 0, 1]


PEOPLE = list(range(100, 120))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("fraction", "held"), [(0.2, 4), (0.5, 10), (0.01, 2), (0.99, 18), (0.33, 7)])
def test_hold_out_divides_people(fraction, held, seed):
    whole = trial(split(np.repeat(PEOPLE, 3), np.repeat(PEOPLE, 2)))
    fit, validation = hold_out(whole, fraction, seed)
    assert len(validation.identities) == held
    assert sorted(fit.identities + validation.identities) == PEOPLE
    for part in (fit, validation):
        for modality, count in (("visible", 3), ("infrared", 2)):
            people, counts = np.unique(part[modality].identities, return_counts=True)
            assert people.tolist() == part.identities
            assert set(counts.tolist()) == {count}


def test_hold_out_repeats_with_its_seed_only():
    whole = trial(split(PEOPLE, PEOPLE))
    draws = [tuple(hold_out(whole, 0.3, seed)[1].identities) for seed in (0, 0, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 4


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_hold_out_of_fewer_than_four_people_is_a_user_error(count):
    with pytest.raises(UserError, match=f"{count} training identities.*at least 4"):
        hold_out(trial(split(PEOPLE[:count], PEOPLE[:count])), 0.5, 0)


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_hold_out_leaves_two_people_on_either_side(fraction):
    fit, validation = hold_out(trial(split(PEOPLE[:4], PEOPLE[:4])), fraction, 0)
    assert len(fit.identities) == len(validation.identities) == 2


@pytest.mark.parametrize("seed", [0, 1])
def test_people_a_data_set_holds_out_itself_are_taken(seed):
    whole = trial(split(PEOPLE, PEOPLE), validation=(103, 107, 119, 999))
    fit, validation = hold_out(whole, 0.5, seed)
    assert validation.identities == [103, 107, 119]
    assert fit.identities == [person for person in PEOPLE if person not in (103, 107, 119)]


@pytest.mark.parametrize("listed", [(103,), tuple(PEOPLE[:-1]), (999, 998)])
def test_a_validation_list_that_leaves_too_few_on_either_side_is_a_user_error(listed):
    whole = trial(split(PEOPLE, PEOPLE), validation=listed)
    with pytest.raises(UserError, match=f"{len(listed)} of 20 training identities are listed"):
        hold_out(whole, 0.5, 0)


def test_people_in_either_modality():
    assert split().everyone == {10, 20, 30, 40, 50, 60}


def test_an_image_of_somebody_without_a_class_is_noticed():
    with pytest.raises(AssertionError):
        class_labels(images("visible", [30, 10, 15]), [10, 20, 30])
