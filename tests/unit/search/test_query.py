"""Queries: ranked lists, the modality an image shows, re-ranking, the contact sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tsme.data.images import open_image
from tsme.errors import UserError
from tsme.evaluation.reranking import rerank
from tsme.models.checkpoint import save_model
from tsme.search.build import build_index
from tsme.search.embedder import ImageEmbedder, told_modality
from tsme.search.gallery import read_gallery
from tsme.search.query import Searcher
from tsme.search.sheet import save_sheet


@pytest.fixture
def searcher(gallery_folder, embedder, tmp_path) -> Searcher:
    index = build_index(tmp_path / "index", read_gallery(str(gallery_folder)), embedder, shard_images=4)
    return Searcher(index, embedder)


def test_an_image_of_the_gallery_finds_itself(searcher, gallery_folder):
    for path, modality in (("a/1.png", "visible"), ("b/4.png", "infrared")):
        found = searcher.find(open_image(gallery_folder / path), None, 3)
        assert (found.modality, found.told, len(found.matches)) == (modality, True, 3)
        first = found.matches[0]
        assert (first.rank, first.path, first.modality, first.reranked) == (1, path, modality, None)
        assert first.score == pytest.approx(1, abs=2e-3)
        scores = [match.score for match in found.matches]
        assert scores == sorted(scores, reverse=True)


def test_a_given_modality_is_used(searcher, gallery_folder):
    image = open_image(gallery_folder / "b" / "4.png")
    found = searcher.find(image, "visible", 6)
    assert (found.modality, found.told) == ("visible", False)
    expected = searcher.embedder.embed(np.array([searcher.embedder.pixels(image)]), "visible")
    scores = searcher.index.vectors([match.row for match in found.matches]) @ expected[0]
    np.testing.assert_allclose([match.score for match in found.matches], scores, atol=1e-5)


def test_reranking_orders_by_k_reciprocal_neighbours(searcher, gallery_folder):
    image = open_image(gallery_folder / "a" / "0.png")
    found = searcher.find(image, None, 4, reranked=True)
    query = searcher.embedder.embed(np.array([searcher.embedder.pixels(image)]), "visible")
    expected = rerank(query, searcher.index.vectors(range(6)))[0]
    assert len(found.matches) == 4
    for match in found.matches:
        assert match.reranked == pytest.approx(expected[match.row], abs=1e-5)
    assert [m.reranked for m in found.matches] == sorted(
        (m.reranked for m in found.matches), reverse=True
    )


def test_another_models_index_is_refused(searcher, make_model, tmp_path):
    save_model(tmp_path / "other.safetensors", make_model(seed=1))
    with pytest.raises(UserError, match="the index is of model"):
        Searcher(searcher.index, ImageEmbedder(tmp_path / "other.safetensors", torch.device("cpu")))


def test_three_equal_channels_are_infrared():
    image = np.tile(np.arange(12, dtype=np.uint8).reshape(1, 3, 4), (3, 1, 1))
    assert told_modality(image) == "infrared"
    image[2, 1, 1] += 1
    assert told_modality(image) == "visible"


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_sheet_shows_query_and_matches(searcher, gallery_folder, tmp_path: Path, suffix: str):
    query = open_image(gallery_folder / "a" / "0.png")
    found = searcher.find(query, None, 6)
    (gallery_folder / found.matches[1].path).unlink()
    save_sheet(
        tmp_path / f"sheet{suffix}", query, "a-very-long-name-of-an-image.png", found, gallery_folder
    )
    with Image.open(tmp_path / f"sheet{suffix}") as sheet:
        pixels = np.asarray(sheet.convert("RGB"), dtype=int)
    # Tiles of 144 x 288 with a gap of 16: the query, its best match (itself), an empty frame.
    first, second, third = (pixels[20:300, x + 5 : x + 138] for x in (16, 176, 336))
    assert np.abs(first - second).mean() < 3 and first.std() > 20
    assert third.std() < 1
    assert sheet.width == 7 * 160 + 16


def test_a_sheet_of_another_format_is_a_user_error(searcher, gallery_folder, tmp_path):
    query = open_image(gallery_folder / "a" / "0.png")
    with pytest.raises(UserError, match=r"sheet\.txt: name a \.png"):
        save_sheet(tmp_path / "sheet.txt", query, "q", searcher.find(query, None, 1), gallery_folder)
