"""The registered model: embeddings of images."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tsme.errors import UserError
from tsme.evaluation.features import embed_images
from tsme.models.checkpoint import load_model, save_model
from tsme.models.translate import translate
from tsme.serving import Embedder, _load_pyfunc, model_files

CPU = torch.device("cpu")


@pytest.fixture
def folder(make_model, tmp_path: Path) -> Path:
    """Trials 3 and 10, with different weights."""
    for trial in (10, 3):
        save_model(tmp_path / f"trial{trial:02d}-abc.safetensors", make_model(trial=trial, seed=trial))
    return tmp_path


def batch(count: int, height: int = 32, width: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def expected(folder: Path, trial: int, images: Tensor, modality: str) -> np.ndarray:
    model = load_model(folder / f"trial{trial:02d}-abc.safetensors", CPU)
    translations = translate(model.generators, images, modality, CPU)
    return embed_images(model.network, images, translations, modality, CPU).numpy()


@pytest.mark.parametrize("trial", [3, 10])
@pytest.mark.parametrize("modality", ["visible", "infrared"])
def test_embeddings_equal_those_of_evaluation_on_the_same_pixels(folder, trial, modality):
    images = batch(5)
    got = Embedder(folder).predict(images, {"modality": modality, "trial": trial})
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    assert (got.dtype, got.shape) == (np.float32, (5, 48))
    np.testing.assert_array_equal(got, expected(folder, trial, pixels, modality))


def test_images_of_another_size_are_resized_as_in_training(folder):
    images = batch(3, 70, 41)
    resized = [np.asarray(Image.fromarray(x).resize((16, 32), Image.Resampling.LANCZOS)) for x in images]
    pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).contiguous()
    got = Embedder(folder).predict(images, {"trial": 3})
    np.testing.assert_array_equal(got, expected(folder, 3, pixels, "visible"))


def encoded(image: np.ndarray, kind: str) -> bytes:
    Image.fromarray(image).save(content := io.BytesIO(), kind)
    return content.getvalue()


def test_a_table_holds_bytes_base64_or_pixels_of_any_size(folder):
    embedder, (first, second), wide = Embedder(folder), batch(2), batch(1, 20, 30)[0]
    rows = [encoded(first, "PNG"), base64.b64encode(encoded(second, "BMP")).decode(), wide, wide.tolist()]
    got = embedder.predict({"image": rows})
    expected_ = [embedder.predict(image[None])[0] for image in (first, second, wide, wide)]
    np.testing.assert_allclose(got, expected_, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no base64!", "image: not base64"),
        (b"no image", "not a readable image"),
        (base64.b64encode(b"x").decode(), "not a readable image"),
        (np.zeros((4, 4), np.uint8), r"image: uint8 of shape \(4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), "image: float32"),
        ([[[0, 0, 256]]], "from 0 to 255"),
        (None, "image: object of shape"),
    ],
)
def test_what_is_no_image_is_a_user_error(folder, value: object, message: str):
    with pytest.raises(UserError, match=message):
        Embedder(folder).predict({"image": [value]})


def test_the_first_trial_and_visible_images_are_the_default(folder):
    embedder, images = Embedder(folder), batch(2)
    named = embedder.predict(images, {"modality": "visible", "trial": 3})
    for params in (None, {}, {"trial": 0}, {"modality": "visible"}):
        np.testing.assert_array_equal(embedder.predict(images, params), named)
    for params in ({"trial": 10}, {"modality": "infrared"}):
        assert not np.allclose(embedder.predict(images, params), named, atol=1e-3)


def test_embeddings_do_not_depend_on_earlier_requests(folder):
    embedder, images = Embedder(folder), batch(4)
    first = embedder.predict(images)
    embedder.predict(255 - images, {"trial": 10, "modality": "infrared"})
    np.testing.assert_array_equal(embedder.predict(images), first)


def test_weights_are_read_once_on_first_use(folder):
    embedder = Embedder(folder)
    embedder.predict(batch(1), {"trial": 10})
    (folder / "trial10-abc.safetensors").unlink()
    embedder.predict(batch(1), {"trial": 10})
    (folder / "trial03-abc.safetensors").unlink()
    with pytest.raises(UserError, match="trial03"):
        embedder.predict(batch(1), {"trial": 3})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"modality": "thermal"}, "modality thermal: expected one of visible, infrared"),
        ({"trial": 4}, "trial 4: this version holds 3, 10"),
        ({"trial": -1}, "trial -1: this version holds 3, 10"),
    ],
)
def test_unknown_parameters_are_user_errors(folder, params, message):
    with pytest.raises(UserError, match=message):
        Embedder(folder).predict(batch(1), params)


def test_a_folder_without_models_is_a_user_error(tmp_path):
    (tmp_path / "trials.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="holds no"):
        Embedder(tmp_path)


def test_two_models_of_a_trial_are_a_user_error(folder):
    (folder / "trial03-xyz.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="trial 3"):
        model_files(folder)


def test_models_are_listed_by_trial(folder):
    assert list(model_files(folder)) == [3, 10]
    assert list(_load_pyfunc(str(folder)).files) == [3, 10]
