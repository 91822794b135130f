"""What can be looked at after an evaluation: ranked lists, confusions, distances, translations, a map.

Everything is small, whatever the size of the data set: queries and pairs are sampled with a fixed seed,
a few are chosen by rule, and their images are kept as thumbnails.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tsme.config import Frozen
from tsme.data.datasets.ground_truth import load_ground_truth
from tsme.data.image_cache import ImageCache
from tsme.data.images import grayscale
from tsme.data.types import MODALITIES, ImageList, Modality, Trial, other
from tsme.evaluation.embedding_space import Distances, EmbeddingMap, map_embeddings, measure_distances
from tsme.evaluation.features import Embeddings
from tsme.evaluation.protocols import Search
from tsme.evaluation.ranked_lists import SearchInspection, inspect_search
from tsme.models.dsgan import Generators
from tsme.models.translate import translate

THUMBNAIL_HEIGHT = 128  # pixels, at the most
TRANSLATED = 4  # images of each modality whose translations are kept


class TranslatedImage(Frozen):
    """An image in grayscale, its translation, the ground truth if known, and the translation back.

    Pictures are WebP files in base64.
    """

    path: str
    image: str
    translation: str
    ground_truth: str | None
    back: str


class Inspection(Frozen):
    """What can be looked at of one trial; `thumbnails` are WebP files in base64, by path of the image."""

    trial: int
    model: str
    searches: list[SearchInspection]
    distances: Distances
    map: EmbeddingMap
    translations: dict[Modality, list[TranslatedImage]]
    thumbnails: dict[str, str]


Translations = dict[Modality, list[TranslatedImage]]


def inspect_trial(
    embeddings: Embeddings,
    translations: Translations,
    images: ImageCache,
    trial: Trial,
    model: str,
    searches: Iterable[Search],
) -> Inspection:
    """Inspect a trial's test embeddings (n, d) by modality; of drawn galleries, the first draw.

    `model` is the key of the weights.
    """
    first_draws = {search.name: search for search in reversed(list(searches))}
    inspected = [
        inspect_search(embeddings, trial.test, search) for search in reversed(first_draws.values())
    ]
    return Inspection(
        trial=trial.number,
        model=model,
        searches=inspected,
        distances=measure_distances(embeddings, trial.test),
        map=map_embeddings(embeddings, trial.test),
        translations=translations,
        thumbnails=_thumbnails(images, trial, inspected),
    )


def translate_examples(
    generators: Generators | None, images: ImageCache, trial: Trial, device: torch.device
) -> Translations:
    """Translations of a few test images of each modality, evenly spaced in their list.

    Empty without generators.
    """
    if generators is None:
        return {}
    return {m: _translate(generators, images, trial.test[m], device) for m in MODALITIES}


def _translate(
    generators: Generators, images: ImageCache, listed: ImageList, device: torch.device
) -> list[TranslatedImage]:
    rows = np.unique(np.linspace(0, len(listed) - 1, TRANSLATED).astype(np.intp))
    chosen = listed.take(rows)
    pixels = images.load(chosen)  # (n, 3, H, W)
    there = translate(generators, pixels, chosen.modality, device)
    back = translate(generators, there, other(chosen.modality), device)
    known = load_ground_truth(images.dataset.root, chosen, images.height, images.width)
    truths = [None] * len(chosen) if known is None else [encode(grayscale(each)) for each in known]
    return [
        TranslatedImage(
            path=path,
            image=encode(grayscale(pixels[row])),
            translation=encode(there[row]),
            ground_truth=truths[row],
            back=encode(back[row]),
        )
        for row, path in enumerate(chosen.paths)
    ]


def _thumbnails(images: ImageCache, trial: Trial, searches: Iterable[SearchInspection]) -> dict[str, str]:
    """Thumbnails of all images that the searches show."""
    paths: dict[Modality, dict[str, None]] = {modality: {} for modality in MODALITIES}
    for search in searches:
        paths[search.query].update(dict.fromkeys(search.query_paths))
        paths[other(search.query)].update(dict.fromkeys(search.gallery_paths))
    thumbnails: dict[str, str] = {}
    for modality, shown in paths.items():
        rows = {path: row for row, path in enumerate(trial.test[modality].paths)}
        chosen = trial.test[modality].take(np.array([rows[path] for path in shown], dtype=np.intp))
        thumbnails |= dict(zip(shown, map(encode, images.load(chosen)), strict=True))
    return thumbnails


def encode(image: Tensor) -> str:
    """An image (3, H, W) uint8 as a WebP file in base64, at most `THUMBNAIL_HEIGHT` pixels high."""
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    width, height = picture.size
    if height > THUMBNAIL_HEIGHT:
        size = (max(1, round(width * THUMBNAIL_HEIGHT / height)), THUMBNAIL_HEIGHT)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=85, method=4)
    return base64.b64encode(file.getvalue()).decode()
