"""Names of values."""

from __future__ import annotations

from pathlib import Path

from tsme.storage.digest import digest


def test_equal_values_have_equal_names():
    assert digest({"a": 1, "b": [1, None]}) == digest({"b": (1, None), "a": 1})
    assert digest(Path("a")) == digest("a")


def test_different_values_have_different_names():
    values = [None, 0, 1, 1.5, "1", [], [1], [[1]], {"a": 1}, {"a": "1"}, {"b": 1}]
    assert len({digest(value) for value in values}) == len(values)


def test_a_name_has_as_many_digits_as_asked_for():
    assert [len(digest("a", digits)) for digits in (10, 16, 64)] == [10, 16, 64]
    assert digest("a", 16).startswith(digest("a"))


def test_names_stay_the_same():
    """Results on disk are found by them."""
    assert digest({"seed": 0, "trial": [1, 2]}) == "d9741d3e68"
