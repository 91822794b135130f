"""A trained model measured by its data set's protocol, and the results of many such measurements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsme.config import DatasetName, Precision
from tsme.data.types import MODALITIES, Modality, Split, Trial, other
from tsme.errors import UserError
from tsme.evaluation.features import Descriptors, extract_all
from tsme.evaluation.metrics import RankingMetrics, evaluate, evaluate_similarity
from tsme.evaluation.protocols import Search, direction, full_searches, label
from tsme.evaluation.reranking import rerank
from tsme.evaluation.spread import Spread
from tsme.models.checkpoint import Provenance, TrialModel
from tsme.models.dsgan import Generators
from tsme.models.reid import TsmeNet
from tsme.models.translate import translate

FIGURES = ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")


@dataclass(frozen=True)
class Row:
    """One line of results: the figures in [0, 1] of one search, and all that decides them.

    `trial` is the division of the people, `draw` the random gallery where there is one; `model` names
    the weights by their key; `seen_identities` counts test identities they trained on.
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
    mode: str = ""
    shots: str = ""
    draw: int | None = None
    drawn_by: str = ""
    flip: bool = False
    rerank: bool = False

    @property
    def protocol(self) -> str:
        """What figures of several trials or draws are averaged under: "all-search single-shot"."""
        name = label(self.direction, self.mode, self.shots)
        extras = ["flip"] * self.flip + ["re-ranking"] * self.rerank
        return f"{name} with {' and '.join(extras)}" if extras else name

    def to_json(self) -> dict[str, Any]:
        """As it stands in results.json."""
        return asdict(self)


def refuse_foreign(provenance: Provenance, trial: Trial) -> None:
    """Raise UserError for weights of another trial, or of people that this trial tests."""
    seen, count = _seen(provenance, trial), len(trial.test.everyone)
    allow = "(or --cross-trial to have that stated in the report)"
    if provenance.trial != trial.number:
        raise UserError(
            f"weights of trial {provenance.trial} offered to trial {trial.number}: they were trained on "
            f"{seen} of its {count} test identities; use trial {trial.number}'s own weights {allow}"
        )
    if seen:
        raise UserError(
            f"the weights were trained on {seen} of the {count} people to test on, or, if these are "
            f"other data, on people of the same numbers; use weights of this data set {allow}"
        )


def _seen(provenance: Provenance, trial: Trial) -> int:
    return len(trial.test.everyone & set(provenance.train_identities))


def embed_trial(
    model: TrialModel,
    images: Mapping[Modality, Tensor],
    device: torch.device,
    *,
    flips: Sequence[bool],
    precision: Precision = "float32",
) -> dict[bool, Descriptors]:
    """Descriptors of a trial's test images uint8 (n, 3, H, W), plain and mirror-averaged as asked for."""
    ready = model.ready()
    translations = None
    if ready.generators is not None:
        translations = translate_split(ready.generators, images, device, precision=precision)
    return {
        flip: extract_all(ready.network, images, translations, device, flip=flip, precision=precision)
        for flip in flips
    }


def score(
    descriptors: Descriptors, split: Split, search: Search, *, reranked: bool = False
) -> RankingMetrics:
    """The figures of one search, with rows and identities of `split`; re-ranked if asked for."""
    asked, searched = split[search.query], split[other(search.query)]
    queries = descriptors[search.query][search.queries]
    gallery = descriptors[other(search.query)][search.gallery]
    columns: dict[str, Any] = {
        "protocol": search.rule,
        "query_cameras": asked.cameras[search.queries],
        "gallery_cameras": searched.cameras[search.gallery],
    }
    q_ids, g_ids = asked.identities[search.queries], searched.identities[search.gallery]
    if reranked:
        return evaluate_similarity(rerank(queries, gallery), q_ids, g_ids, **columns)
    return evaluate(queries, q_ids, gallery, g_ids, **columns)


def to_row(
    metrics: RankingMetrics,
    search: Search,
    trial: Trial,
    provenance: Provenance,
    *,
    flip: bool,
    reranked: bool,
) -> Row:
    """The line of results that says what was measured."""
    return Row(
        trial=trial.number,
        direction=direction(search.query),
        rank1=metrics.rank(1),
        rank5=metrics.rank(5),
        rank10=metrics.rank(10),
        rank20=metrics.rank(20),
        mAP=metrics.mAP,
        mINP=metrics.mINP,
        queries=metrics.queries,
        skipped_queries=metrics.skipped_queries,
        gallery=len(search.gallery),
        test_identities=len(trial.test.everyone),
        model=provenance.key,
        model_trial=provenance.trial,
        seen_identities=_seen(provenance, trial),
        mode=search.mode,
        shots=search.shots,
        draw=search.draw,
        drawn_by=search.drawn_by,
        flip=flip,
        rerank=reranked,
    )


def validate(
    network: TsmeNet,
    images: Mapping[Modality, Tensor],
    translations: Mapping[Modality, Tensor] | None,
    split: Split,
    dataset: DatasetName,
    device: torch.device,
) -> dict[str, float]:
    """What choices look at: the mean over the data set's directions, as val_rank1, val_mAP, val_mINP.

    All images of the held-out identities are searched, nothing is drawn.
    """
    described = extract_all(network, images, translations, device)
    metrics = [score(described, split, search) for search in full_searches(dataset, split)]
    return {
        "val_rank1": float(np.mean([m.rank(1) for m in metrics])),
        "val_mAP": float(np.mean([m.mAP for m in metrics])),
        "val_mINP": float(np.mean([m.mINP for m in metrics])),
    }


def translate_split(
    generators: Generators,
    images: Mapping[Modality, Tensor],
    device: torch.device,
    *,
    precision: Precision = "float32",
) -> dict[Modality, Tensor]:
    """The translation of every image, by the image's own modality."""
    return {m: translate(generators, images[m], m, device, precision=precision) for m in MODALITIES}


def summarise(rows: Iterable[Row]) -> dict[str, dict[str, dict[str, float | None]]]:
    """The spread of every figure, by protocol, as results.json holds it.

    Over trials where a data set has several, else over the draws of the gallery.
    """
    by_protocol: dict[str, list[Row]] = {}
    for row in rows:
        by_protocol.setdefault(row.protocol, []).append(row)
    return {
        protocol: {f: Spread.of([getattr(row, f) for row in alike])._asdict() for f in FIGURES}
        for protocol, alike in by_protocol.items()
    }
