"""How much of a sweep's differences each parameter explains."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from ray.tune.search.optuna import OptunaSearch

from tsme.config import Config
from tune.spaces import search_space
from tune.sweep import Sample

MIN_SAMPLES = 10  # of fewer, the shares say nothing


def parameter_importance(samples: Sequence[Sample], config: Config) -> dict[str, float]:
    """Share of the variance of the score that each parameter explains, by fANOVA; they add up to 1.

    `config` is the one around which the samples were drawn. Empty for fewer than `MIN_SAMPLES` samples
    or if all scores are equal. Hutter et al., ICML 2014.
    """
    if len(samples) < MIN_SAMPLES or len({sample.score for sample in samples}) == 1:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = OptunaSearch.convert_search_space(search_space(config))
    study = optuna.create_study(direction="maximize")
    for sample in samples:
        study.add_trial(
            optuna.trial.create_trial(
                params=sample.values, distributions=distributions, value=sample.score
            )
        )
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(share) for name, share in shares.items()}
