"""Importance of a sweep's parameters, where one alone decides the score."""

from __future__ import annotations

import math

import numpy as np

from tsme.presets import demo
from tune.importance import MIN_SAMPLES, parameter_importance
from tune.spaces import current_point, search_space
from tune.sweep import Sample


def samples(count: int) -> list[Sample]:
    """Random points of the demo's search space, scored by their learning rate."""
    config, random = demo(), np.random.default_rng(0)
    space = search_space(config)
    points = [current_point(config, space)]
    for _ in range(count - 1):
        points.append({key: _draw(domain, random) for key, domain in space.items()})
    return [
        Sample(f"sample-{n:02d}", point, math.log10(point["reid.optimizer.lr"]) / 10 + 0.5, 1, 1)
        for n, point in enumerate(points)
    ]


def _draw(domain, random: np.random.Generator) -> float:
    if hasattr(domain, "categories"):
        return domain.categories[random.integers(len(domain.categories))]
    return float(random.uniform(domain.lower, domain.upper))


def test_the_parameter_that_decides_is_the_most_important():
    shares = parameter_importance(samples(30), demo())
    assert set(shares) == set(search_space(demo()))
    assert shares["reid.optimizer.lr"] > 0.8
    assert math.isclose(sum(shares.values()), 1, abs_tol=1e-6)


def test_few_samples_tell_nothing():
    assert parameter_importance(samples(MIN_SAMPLES - 1), demo()) == {}
