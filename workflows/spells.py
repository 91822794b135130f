"""Spells of work: when somebody trained, translated or evaluated, as (began, ended) of time.time()."""

from __future__ import annotations

from collections.abc import Sequence

Spell = tuple[float, float]


def worked(spells: Sequence[Spell]) -> float:
    """Seconds of work in each of the lanes that the spells took, on average.

    There were as many lanes as spells at once at the most; a lane that was idle counts in full.
    """
    # An end before a beginning at the same time: one lane can do both.
    turns = sorted([(began, 1) for began, _ in spells] + [(ended, -1) for _, ended in spells])
    lanes = busy = 0
    for _, turn in turns:
        busy += turn
        lanes = max(lanes, busy)
    return sum(ended - began for began, ended in spells) / max(1, lanes)
