"""Words and tables of text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tsme.evaluation.results import EvaluationResult
from tsme.report.wording import duration, figures_table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0 s"), (7.14, "7.1 s"), (200, "3 min 20 s"), (3599.6, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float, text: str):
    assert duration(seconds) == text


def test_a_table_has_means_and_deviations():
    row = EvaluationResult(
        trial=1, direction="visible-to-infrared", rank1=0.5, rank5=0.6, rank10=0.7, rank20=0.8, mAP=0.25,
        mINP=0.125, queries=4, skipped_queries=0, gallery=4, test_identities=2, model="k", model_trial=1,
        seen_identities=0,
    )  # fmt: skip
    lines = figures_table([row, replace(row, trial=2, rank1=0.7)]).splitlines()
    assert lines[0] == "| protocol | Rank-1 | mAP | mINP |"
    assert lines[2] == "| visible to infrared | 60.00 ± 14.14 | 25.00 ± 0.00 | 12.50 ± 0.00 |"
