"""An ablation's means and paired differences against hand-computed ones; its tables and plot."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from tsme.evaluation.results import EvaluationResult
from tsme.report.ablation import ablation_plot, ablation_table, compare, translation_table

OVER = {"plain": None, "more": "plain", "most": "more"}


def result(mAP: float, direction: str = "visible-to-infrared", **options: object) -> EvaluationResult:
    figures = {"rank1": mAP / 2, "rank5": 0.0, "rank10": 0.0, "rank20": 0.0, "mAP": mAP, "mINP": mAP / 4}
    counts = {"queries": 4, "skipped_queries": 0, "gallery": 4, "test_identities": 2}
    provenance = {"model": "k", "model_trial": 1, "seen_identities": 0}
    return EvaluationResult(trial=1, direction=direction, **figures, **counts, **provenance, **options)


SAMPLES = {
    "plain": [[result(0.20)], [result(0.30)], [result(0.25)]],
    "more": [[result(0.30)], [result(0.38)], [result(0.36)]],
    "most": [
        [result(0.31), result(0.5, flip=True)],
        [result(0.35), result(0.5, flip=True)],
        [result(0.45), result(0.5, flip=True)],
    ],
}


def test_differences_are_between_equal_seeds():
    plain, more, most, flipped = compare(SAMPLES, OVER)
    assert plain.figures["mAP"] == pytest.approx((0.25, 0.05))  # deviations -5, 5, 0 of n - 1 = 2
    assert plain.gains == {} and plain.over is None
    # 10, 8 and 11 points: mean 29 / 3, variance (1/9 + 25/9 + 16/9) / 2.
    assert more.gains["mAP"].difference == pytest.approx((0.29 / 3, 0.01 * (42 / 18) ** 0.5))
    assert more.gains["mAP"].clear and more.gains["rank1"].clear
    # 1, -3 and 9 points: within the spread.
    assert most.gains["mAP"].difference.mean == pytest.approx(0.07 / 3)
    assert not most.gains["mAP"].clear
    assert flipped.protocol.endswith("with flip") and flipped.gains == {}


def test_a_gain_smaller_than_the_spread_of_either_variant_is_not_clear():
    wide = {"plain": [[result(0.1)], [result(0.5)]], "more": [[result(0.12)], [result(0.52)]]}
    _, more = compare(wide, OVER)
    assert more.gains["mAP"].difference == pytest.approx((0.02, 0.0), abs=1e-12)
    assert not more.gains["mAP"].clear


def test_a_single_seed_has_no_standard_deviation():
    _, more = compare({"plain": [[result(0.1)]], "more": [[result(0.9)]]}, OVER)
    assert more.figures["mAP"].std is None and more.gains["mAP"].clear is None
    assert str(more.gains["mAP"]) == ""


def test_a_clear_decrease_is_called_a_loss():
    _, more = compare(
        {"plain": [[result(0.5)], [result(0.51)]], "more": [[result(0.3)], [result(0.32)]]}, OVER
    )
    assert more.gains["mAP"].clear and str(more.gains["mAP"]) == "loss"


def test_figures_of_several_draws_are_averaged_first():
    drawn = {
        "plain": [[result(0.1, draw=0), result(0.3, draw=1)], [result(0.4, draw=0), result(0.4, draw=1)]]
    }
    (line,) = compare(drawn, OVER)
    assert line.figures["mAP"].mean == pytest.approx(0.3)


def test_tables_show_figures_and_gains():
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(ablation_table(compare(SAMPLES, OVER), 3))
    scores = {
        "DSGAN": [{"ssim_infrared": 0.5}, {"ssim_infrared": 0.7}],
        "grayscale copy": [{"ssim_infrared": 0.1}],
    }
    console.print(translation_table(scores))
    text = console.export_text()
    assert "25.00 ± 5.00" in text and "+9.67 ± 1.53" in text
    assert " gain " in text and "within the spread" in text and " loss " not in text
    assert "0.600 ± 0.141" in text and "SSIM to infrared" in text


def test_the_plot_has_a_panel_for_each_direction(tmp_path: Path):
    both = {
        name: [[*results, result(0.1, "infrared-to-visible")] for results in seeds]
        for name, seeds in SAMPLES.items()
    }
    sizes = []
    for samples in (SAMPLES, both):
        ablation_plot(samples, compare(samples, OVER), tmp_path / "picture")
        sizes.append(Image.open(tmp_path / "picture").size)
    assert sizes[1][0] > 1.5 * sizes[0][0]
