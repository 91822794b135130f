"""Indices: what is in the folder, interrupted builds, unreadable images, other models and galleries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tsme.data.images import open_image
from tsme.errors import UserError
from tsme.models.checkpoint import save_model
from tsme.search import build
from tsme.search.build import build_index
from tsme.search.embedder import ImageEmbedder
from tsme.search.gallery import read_gallery
from tsme.search.index import GalleryIndex, shard_files


def vectors_of(index: GalleryIndex) -> np.ndarray:
    return np.concatenate([vectors for _, vectors in index.blocks()])


def test_an_index_holds_the_images_embeddings_in_order(gallery_folder, embedder, tmp_path):
    index = build_index(tmp_path / "index", read_gallery(str(gallery_folder)), embedder, shard_images=4)
    expected = [
        embedder.embed(np.array([embedder.pixels(open_image(file))]), modality)[0]
        for modality, folder in (("visible", "a"), ("infrared", "b"))
        for file in sorted((gallery_folder / folder).iterdir())
    ]
    vectors = vectors_of(index)
    assert vectors.dtype == np.float16
    np.testing.assert_allclose(vectors, np.array(expected), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=2e-3)
    assert [tuple(index.image(row)) for row in (0, 3, 5)] == [
        ("a/0.png", "a", "visible"),
        ("b/3.png", "b", "infrared"),
        ("b/5.png", "b", "infrared"),
    ]
    header = GalleryIndex.open(tmp_path / "index").header
    assert header == index.header
    assert header.modalities == {"visible": 3, "infrared": 3}
    assert (header.vectors, header.unreadable, header.told, header.shards) == (6, 0, 6, 2)
    np.testing.assert_array_equal(index.vectors([5, 0]), vectors[[5, 0]].astype(np.float32))


def test_a_given_modality_is_used(gallery_folder, embedder, tmp_path):
    told = build_index(tmp_path / "told", read_gallery(str(gallery_folder / "b")), embedder)
    given = build_index(tmp_path / "given", read_gallery(str(gallery_folder / "b"), "visible"), embedder)
    assert given.header.modalities == {"visible": 3} and given.header.told == 0
    assert not np.allclose(vectors_of(told), vectors_of(given), atol=1e-2)


def test_an_unreadable_image_is_listed_and_left_out(gallery_folder, embedder, tmp_path):
    (gallery_folder / "a" / "1.png").write_bytes(b"broken")
    (tmp_path / "t.csv").write_text(
        "path,identity\ngallery/a/0.png,1\ngallery/gone.png,2\ngallery/b/3.png,3\n"
    )
    index = build_index(tmp_path / "index", read_gallery(str(gallery_folder)), embedder, shard_images=2)
    assert (index.header.vectors, index.header.unreadable) == (5, 1)
    (line,) = (index.folder / "unreadable.jsonl").read_text().splitlines()
    assert json.loads(line)["path"] == "a/1.png" and "unknown format" in json.loads(line)["reason"]
    assert [index.image(row).path for row in (0, 2, 4)] == ["a/0.png", "a/2.png", "b/4.png"]
    table = build_index(tmp_path / "other", read_gallery(str(tmp_path / "t.csv")), embedder)
    assert [table.image(row).label for row in range(2)] == ["1", "3"]
    assert "gallery/gone.png" in (table.folder / "unreadable.jsonl").read_text()


def test_no_readable_image_is_a_user_error(tmp_path, embedder):
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "a.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"none of the 1 images can be read; the first: .*a\.png"):
        build_index(tmp_path / "index", read_gallery(str(tmp_path / "gallery")), embedder)


def test_an_interrupted_build_goes_on_at_the_next_shard(gallery_folder, embedder, tmp_path, monkeypatch):
    gallery = read_gallery(str(gallery_folder))
    whole = vectors_of(build_index(tmp_path / "whole", gallery, embedder, shard_images=2))
    seen: list[str] = []

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(tmp_path / "index", gallery, embedder, progress=interrupt, shard_images=2)
    with pytest.raises(UserError, match="not complete"):
        GalleryIndex.open(tmp_path / "index")
    original = build.open_image
    monkeypatch.setattr(build, "open_image", lambda path: (seen.append(path.name), original(path))[1])
    counts: list[int] = []
    index = build_index(
        tmp_path / "index",
        gallery,
        embedder,
        progress=lambda done, _: counts.append(done),
        shard_images=2,
    )
    assert sorted(seen) == ["2.png", "3.png", "4.png", "5.png"]
    assert counts == [2, 3, 4, 5, 6]
    np.testing.assert_array_equal(vectors_of(index), whole)
    seen.clear()
    assert build_index(tmp_path / "index", gallery, embedder).header == index.header and not seen


def test_a_folder_of_something_else_is_left_alone(gallery_folder, embedder, make_model, tmp_path):
    gallery = read_gallery(str(gallery_folder))
    index = build_index(tmp_path / "index", gallery, embedder)
    Image.new("RGB", (16, 32)).save(gallery_folder / "new.png")
    with pytest.raises(UserError, match="an index of other images, or they have changed"):
        build_index(tmp_path / "index", read_gallery(str(gallery_folder)), embedder)
    save_model(tmp_path / "other.safetensors", make_model(seed=1))
    other = ImageEmbedder(tmp_path / "other.safetensors", torch.device("cpu"))
    with pytest.raises(UserError, match="an index of another model"):
        build_index(tmp_path / "index", gallery, other)
    with pytest.raises(UserError, match="not an index"):
        build_index(gallery_folder, gallery, embedder)
    with pytest.raises(UserError, match=r"the index is of model key1 .*; use that model"):
        index.require_model(other.identity)
    index.require_model(embedder.identity)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "index.json").unlink(), "it has no index.json"),
        (lambda folder: (folder / "index.json").write_text("{}"), "not an index of this version"),
        (lambda folder: (folder / "index.json").write_text("{"), "not a JSON file"),
        (lambda folder: shard_files(folder, 0)[0].write_bytes(b"x"), r"00000\.npy: damaged"),
        (lambda folder: np.save(shard_files(folder, 0)[0], np.zeros(3)), "not float16 vectors"),
        (lambda folder: np.save(shard_files(folder, 0)[0], np.array([{}]), allow_pickle=True), "damaged"),
    ],
)
def test_a_damaged_index_is_a_user_error(gallery_folder, embedder, tmp_path: Path, damage, message):
    build_index(tmp_path / "index", read_gallery(str(gallery_folder)), embedder)
    damage(tmp_path / "index")
    with pytest.raises(UserError, match=message):
        vectors_of(GalleryIndex.open(tmp_path / "index"))
