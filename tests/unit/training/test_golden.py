"""The losses of a short training of both stages, as they were: a change of theirs is wanted or a mistake.

After a wanted change, put what the failing test prints into golden.json, and say in the commit why.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("golden.json")


@pytest.mark.parametrize("stage", ["dsgan", "reid"])
def test_losses_are_what_they_were(make_task, run, stage):
    results, _ = run(make_task(stage))
    losses = [{name: round(value, 6) for name, value in r.losses.items()} for r in results]
    print(json.dumps({stage: losses}, indent=2))
    expected = json.loads(GOLDEN.read_text())[stage]
    assert len(losses) == len(expected) == 3
    for got, wanted in zip(losses, expected, strict=True):
        # Other processors round otherwise, which a few steps amplify.
        assert got == pytest.approx(wanted, rel=5e-3)
