"""Evaluation of a trained model: embed a trial's images and score searches among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsme.config import DatasetName, Precision
from tsme.data.types import MODALITIES, Modality, Split, Trial, other
from tsme.errors import UserError
from tsme.evaluation.features import Embeddings, embed_split
from tsme.evaluation.metrics import RankingMetrics, evaluate, evaluate_similarity
from tsme.evaluation.protocols import Search, full_searches
from tsme.evaluation.reranking import rerank
from tsme.evaluation.results import count_seen
from tsme.models.checkpoint import Provenance, TrialModel
from tsme.models.dsgan import Generators
from tsme.models.reid import TsmeNet
from tsme.models.translate import translate


def require_own_weights(provenance: Provenance, trial: Trial) -> None:
    """Raise UserError if weights are of another trial or were trained on this trial's test identities."""
    seen, count = count_seen(provenance, trial), len(trial.test.all_identities)
    allow = "(or allow it by --cross-trial; the table then says so)"
    if provenance.trial != trial.number:
        raise UserError(
            f"weights of trial {provenance.trial} offered to trial {trial.number}: they were trained on "
            f"{seen} of its {count} test identities; use trial {trial.number}'s own weights {allow}"
        )
    if seen:
        raise UserError(
            f"the weights were trained on {seen} of the {count} test identities or, if they come from "
            f"other data, on identities of the same numbers; use weights of this data set {allow}"
        )


def embed_trial(
    model: TrialModel,
    images: Mapping[Modality, Tensor],
    device: torch.device,
    *,
    flips: Sequence[bool],
    precision: Precision = "float32",
) -> dict[bool, Embeddings]:
    """Embeddings of images uint8 (n, 3, H, W) by modality, for each value of `flips`.

    With flip, an embedding is the mean of an image's and its mirror image's.
    """
    ready = model.ready()
    translations = None
    if ready.generators is not None:
        translations = translate_split(ready.generators, images, device, precision=precision)
    return {
        flip: embed_split(ready.network, images, translations, device, flip=flip, precision=precision)
        for flip in flips
    }


def translate_split(
    generators: Generators,
    images: Mapping[Modality, Tensor],
    device: torch.device,
    *,
    precision: Precision = "float32",
) -> dict[Modality, Tensor]:
    """Translations of images uint8 (n, 3, H, W) to the other modality, by the images' own modality."""
    return {m: translate(generators, images[m], m, device, precision=precision) for m in MODALITIES}


def score_search(
    embeddings: Embeddings, split: Split, search: Search, *, reranked: bool = False
) -> RankingMetrics:
    """Metrics of one search; `search` holds rows of `split`. With `reranked`, of re-ranked lists."""
    query_images, gallery_images = split[search.query], split[other(search.query)]
    queries = embeddings[search.query][search.queries]
    gallery = embeddings[other(search.query)][search.gallery]
    columns: dict[str, Any] = {
        "protocol": search.rule,
        "query_cameras": query_images.cameras[search.queries],
        "gallery_cameras": gallery_images.cameras[search.gallery],
    }
    query_ids = query_images.identities[search.queries]
    gallery_ids = gallery_images.identities[search.gallery]
    if reranked:
        return evaluate_similarity(rerank(queries, gallery), query_ids, gallery_ids, **columns)
    return evaluate(queries, query_ids, gallery, gallery_ids, **columns)


def validate(
    network: TsmeNet,
    images: Mapping[Modality, Tensor],
    translations: Mapping[Modality, Tensor] | None,
    split: Split,
    dataset: DatasetName,
    device: torch.device,
) -> dict[str, float]:
    """Figures for choosing a configuration: val_rank1, val_mAP and val_mINP, means over directions.

    All images of the held-out identities are in the gallery; no gallery is drawn.
    """
    embeddings = embed_split(network, images, translations, device)
    metrics = [score_search(embeddings, split, search) for search in full_searches(dataset, split)]
    return {
        "val_rank1": float(np.mean([m.rank(1) for m in metrics])),
        "val_mAP": float(np.mean([m.mAP for m in metrics])),
        "val_mINP": float(np.mean([m.mINP for m in metrics])),
    }
