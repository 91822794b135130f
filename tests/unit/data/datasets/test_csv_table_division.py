"""CSV tables: how identities are divided into training and test."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.data.datasets.csv_table_cases import COLUMNS, ROWS, write
from tsme.data.types import MODALITIES


def identities(file: Path, both: int, visible_only: int = 0) -> list[tuple[str, ...]]:
    """Rows without split: `both` identities in both modalities, then some in one."""
    rows = []
    for identity in range(1, both + visible_only + 1):
        for modality in MODALITIES[: 2 if identity <= both else 1]:
            rows.append((f"{identity}-{modality}.jpg", str(identity), "1", modality))
            (file.parent / rows[-1][0]).touch()
    return rows


NO_SPLIT = COLUMNS[:-1]


@pytest.mark.parametrize(("both", "trained"), [(4, 2), (9, 4), (20, 10)])
def test_half_of_the_identities_are_drawn_to_train(file: Path, both: int, trained: int) -> None:
    rows = identities(file, both, visible_only=3)
    findings = write(file, rows, NO_SPLIT)
    (trial,) = findings.trials.values()
    assert findings.faults == ()
    assert len(trial.train.identities) == trained
    assert sorted(trial.train.identities + trial.test.identities) == list(range(1, both + 1))
    alone = set(range(both + 1, both + 4))
    assert alone <= set(trial.test.visible.identities.tolist())
    assert trial.validation == ()
    assert findings.warnings == (
        f"no split column: {trained} identities, drawn at random, are for training, "
        f"the other {both - trained + 3} for testing",
    )


def test_the_random_division_depends_on_the_identities_alone(file: Path) -> None:
    rows = identities(file, 20)
    drawn = write(file, rows, NO_SPLIT).trial(1).train.identities
    # Must not change: every table would be divided anew.
    assert drawn == [1, 4, 5, 8, 14, 15, 17, 18, 19, 20]
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(rows))
        shuffled = write(file, [rows[row] for row in order], NO_SPLIT)
        assert shuffled.trial(1).train.identities == drawn


def test_identities_in_one_modality_are_not_trained_on_but_stay_in_the_test(file: Path) -> None:
    for name in ("x.jpg", "y.jpg", "z.jpg"):
        (file.parent / name).touch()
    alone = [
        ("x.jpg", "50", "1", "visible", "train"),
        ("y.jpg", "45", "1", "visible", "validation"),
        ("z.jpg", "60", "1", "infrared", "test"),
    ]
    findings = write(file, [*ROWS, *alone])
    (trial,) = findings.trials.values()
    assert findings.faults == ()
    assert trial.train.visible.identities.tolist() == [7, 12, 3, 7]
    assert trial.validation == (3,)
    assert trial.test.infrared.identities.tolist() == [40, 9, 60]
    (warning,) = findings.warnings
    assert warning.startswith("2 training identities") and "first 45;" in warning


def test_too_few_identities_to_divide(file: Path) -> None:
    (fault,) = write(file, identities(file, 3, visible_only=4), NO_SPLIT).faults
    assert fault.line is None
    assert "only 3 of the identities, to be divided" in fault.message and "at least 4" in fault.message
