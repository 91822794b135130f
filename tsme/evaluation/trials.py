"""RegDB's protocol: each trial's own model on that trial's test people, in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsme.config import Config
from tsme.data.images import load_images
from tsme.data.records import MODALITIES, Modality, Split, Trial, other
from tsme.errors import UserError
from tsme.evaluation.features import extract
from tsme.evaluation.ranking import RankingMetrics, evaluate
from tsme.models.bundle import TrialModel
from tsme.models.dsgan import Translators
from tsme.models.reid import TsmeNet
from tsme.models.translate import translate

PROTOCOL = "regdb: all gallery images, no camera filter; each trial with its own weights"
FIGURES = ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")


@dataclass(frozen=True)
class Row:
    """One line of results: figures in [0, 1] of one trial in one direction, and what decides them.

    `model` names the weights by their key; `seen_identities` counts test people they trained on.
    """

    trial: int
    direction: str
    rank1: float
    rank5: float
    rank10: float
    rank20: float
    mAP: float
    mINP: float
    queries: int
    skipped_queries: int
    gallery: int
    test_identities: int
    model: str
    model_trial: int
    seen_identities: int
    flip: bool = False
    rerank: bool = False

    def to_json(self) -> dict[str, Any]:
        """As it stands in results.json."""
        return asdict(self)


def direction(query: Modality) -> str:
    """Name of the search that starts from this modality, for example "visible-to-infrared"."""
    return f"{query}-to-{other(query)}"


def measure_split(
    network: TsmeNet,
    images: Mapping[Modality, Tensor],
    translations: Mapping[Modality, Tensor],
    split: Split,
    device: torch.device,
) -> dict[Modality, RankingMetrics]:
    """Metrics by the query's modality, of people whose images (n, 3, H, W) are given as uint8."""
    features = {m: extract(network, images[m], translations[m], m, device) for m in MODALITIES}
    return {
        query: evaluate(
            features[query],
            split[query].identities,
            features[other(query)],
            split[other(query)].identities,
        )
        for query in MODALITIES
    }


def validation_metrics(metrics: Mapping[Modality, RankingMetrics]) -> dict[str, float]:
    """What choices look at: the mean of both directions, as val_rank1, val_mAP and val_mINP."""
    values = list(metrics.values())
    return {
        "val_rank1": float(np.mean([m.rank(1) for m in values])),
        "val_mAP": float(np.mean([m.mAP for m in values])),
        "val_mINP": float(np.mean([m.mINP for m in values])),
    }


def load_split(config: Config, split: Split) -> dict[Modality, Tensor]:
    """A split's images by modality, uint8 (n, 3, H, W) at the configured size."""
    size = (config.image.height, config.image.width)
    return {modality: load_images(split[modality], *size) for modality in MODALITIES}


def translate_split(
    translators: Translators, images: Mapping[Modality, Tensor], device: torch.device
) -> dict[Modality, Tensor]:
    """The translation of every image, by the image's own modality."""
    return {m: translate(translators, images[m], m, device) for m in MODALITIES}


def evaluate_trial(
    model: TrialModel, trial: Trial, device: torch.device, *, cross_trial: bool = False
) -> list[Row]:
    """Both directions of a trial with a model; the figures of one row each.

    Raises UserError naming both trials if the model belongs to another one, whose training people
    are among this trial's test people, unless `cross_trial` asks for exactly that.
    """
    origin = model.origin
    test_people = trial.test.identities
    seen = len(set(test_people) & set(origin.train_identities))
    if origin.trial != trial.number and not cross_trial:
        raise UserError(
            f"weights of trial {origin.trial} offered to trial {trial.number}: they were trained on "
            f"{seen} of its {len(test_people)} test people; use trial {trial.number}'s own weights "
            "(or --cross-trial to have that stated in the report)"
        )
    images = load_split(origin.config, trial.test)
    translations = translate_split(model.translators, images, device)
    metrics = measure_split(model.network, images, translations, trial.test, device)
    return [
        Row(
            trial=trial.number,
            direction=direction(query),
            rank1=result.rank(1),
            rank5=result.rank(5),
            rank10=result.rank(10),
            rank20=result.rank(20),
            mAP=result.mAP,
            mINP=result.mINP,
            queries=result.queries,
            skipped_queries=result.skipped_queries,
            gallery=len(trial.test[other(query)]),
            test_identities=len(test_people),
            model=origin.key,
            model_trial=origin.trial,
            seen_identities=seen,
        )
        for query, result in metrics.items()
    ]


def summarise(rows: list[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean and standard deviation (of the sample, 0 for one trial) of every figure, by direction."""
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for name in dict.fromkeys(row.direction for row in rows):
        of_direction = [row for row in rows if row.direction == name]
        summary[name] = {}
        for figure in FIGURES:
            values = [float(getattr(row, figure)) for row in of_direction]
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            summary[name][figure] = {"mean": float(np.mean(values)), "std": spread}
    return summary
