"""The registered model as MLflow loads it: a folder with the weights of all trials; embeds images.

MLflow finds `_load_pyfunc` by the name of this module, which does not import MLflow.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tsme.data.images import decode_image, pixels
from tsme.data.types import MODALITIES
from tsme.errors import UserError
from tsme.evaluation.features import embed_pixels
from tsme.models.checkpoint import TrialModel, load_model
from tsme.storage.object_store import AnyPath


def model_files(folder: AnyPath) -> dict[int, AnyPath]:
    """The weights files in a folder (trialNN-KEY.safetensors), by trial.

    Raises UserError if there are none, or two files of one trial.
    """
    files: dict[int, AnyPath] = {}
    paths: list[AnyPath] = list(folder.glob("trial[0-9][0-9]-*.safetensors"))
    for path in sorted(paths, key=lambda path: path.name):
        trial = int(path.name[len("trial") :][:2])
        if trial in files:
            raise UserError(f"{folder}: two models of trial {trial}, {files[trial].name} and {path.name}")
        files[trial] = path
    if not files:
        raise UserError(f"{folder}: holds no model (trialNN-KEY.safetensors)")
    return files


class Embedder:
    """Embeds images with the weights of one trial; a trial's weights are loaded on first use."""

    def __init__(self, folder: Path) -> None:
        self.files = model_files(folder)
        self.models: dict[int, TrialModel] = {}

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """Embeddings (n, d) of images of any size and one modality.

        `model_input` is a table whose column `image` holds, in each row, the bytes of an image file
        (as base64 where it comes as JSON) or RGB pixels (height, width, 3); or an array of such pixels
        (n, height, width, 3). `params`: "modality", visible (default) or infrared; "trial", whose
        weights to use (default: the first trial).
        """
        options = params or {}
        modality = options.get("modality", "visible")
        if modality not in MODALITIES:
            raise UserError(f"modality {modality}: expected one of {', '.join(MODALITIES)}")
        trial = int(options.get("trial", 0)) or next(iter(self.files))
        if trial not in self.files:
            raise UserError(f"trial {trial}: this version holds {', '.join(map(str, self.files))}")
        device = torch.device("cpu")
        if trial not in self.models:
            self.models[trial] = load_model(self.files[trial], device).ready()
        model = self.models[trial]
        size = model.provenance.config.image
        rows = model_input if isinstance(model_input, np.ndarray) else model_input["image"]
        resized = [pixels(_image(row), size.height, size.width) for row in rows]
        images = torch.from_numpy(np.stack(resized))
        return embed_pixels(model, images, modality, device).numpy()


def _image(value: Any) -> Image.Image:
    """The RGB image in the bytes of a file, in their base64, or in pixels. Raises UserError."""
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except ValueError as error:
            raise UserError(f"image: not base64 ({error})") from None
    if isinstance(value, bytes):
        return decode_image(value)
    array = np.asarray(value)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind not in "iu":
        raise UserError(
            f"image: {array.dtype} of shape {array.shape}; give a file's bytes or whole numbers "
            "(height, width, 3) from 0 to 255"
        )
    if array.size and (array.min() < 0 or array.max() > 255):
        raise UserError("image: pixels are whole numbers from 0 to 255")
    return Image.fromarray(array.astype(np.uint8))


def _load_pyfunc(path: str) -> Embedder:
    return Embedder(Path(path))
