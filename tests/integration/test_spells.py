"""How long was worked, from when somebody did."""

from __future__ import annotations

import pytest

from workflows.spells import worked


@pytest.mark.parametrize(
    ("spells", "expected"),
    [
        ([], 0.0),
        ([(0.0, 4.0)], 4.0),
        ([(0.0, 4.0), (4.0, 6.0)], 6.0),  # one lane, without a rest
        ([(0.0, 4.0), (1.0, 5.0)], 4.0),  # two lanes
        ([(0.0, 4.0), (1.0, 3.0)], 3.0),  # two, one of which rests for two seconds
        ([(0.0, 2.0), (1.0, 3.0), (2.0, 4.0), (6.0, 8.0)], 4.0),  # two at the most
    ],
)
def test_work_is_shared_by_as_many_lanes_as_were_busy_at_once(spells, expected):
    assert worked(spells) == worked(spells[::-1]) == pytest.approx(expected)
