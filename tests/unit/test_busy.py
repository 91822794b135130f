"""Busy seconds, from when training epochs started and ended."""

from __future__ import annotations

import pytest

from tests.support.busy import busy_seconds


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([], 0.0),
        ([(0.0, 4.0)], 4.0),
        ([(0.0, 4.0), (4.0, 6.0)], 6.0),  # one slot, never idle
        ([(0.0, 4.0), (1.0, 5.0)], 4.0),  # two slots
        ([(0.0, 4.0), (1.0, 3.0)], 3.0),  # two, one of them idle for two seconds
        ([(0.0, 2.0), (1.0, 3.0), (2.0, 4.0), (6.0, 8.0)], 4.0),  # two at most
    ],
)
def test_busy_seconds_are_a_mean_over_slots(intervals, expected):
    assert busy_seconds(intervals) == busy_seconds(intervals[::-1]) == pytest.approx(expected)
