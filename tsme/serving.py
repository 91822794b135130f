"""The registered model as MLflow loads it: a folder with the weights of all trials; embeds images.

MLflow finds `_load_pyfunc` by the name of this module, which does not import MLflow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tsme.data.images import pixels
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

    def predict(
        self, model_input: NDArray[np.uint8], params: dict[str, Any] | None = None
    ) -> NDArray[np.float32]:
        """Embeddings (n, d) of RGB images (n, height, width, 3) of any size and one modality.

        `params`: "modality", visible (default) or infrared; "trial", whose weights to use (default: the
        first trial).
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
        resized = [pixels(Image.fromarray(image), size.height, size.width) for image in model_input]
        images = torch.from_numpy(np.stack(resized))
        return embed_pixels(model, images, modality, device).numpy()


def _load_pyfunc(path: str) -> Embedder:
    return Embedder(Path(path))
