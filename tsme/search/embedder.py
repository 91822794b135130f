"""A trained model as the search uses it: image files to unit vectors, and the modality of an image."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict

from tsme.data.images import pixels
from tsme.data.types import Modality
from tsme.evaluation.features import embed_pixels
from tsme.models.checkpoint import load_model
from tsme.storage.object_store import AnyPath
from tsme.storage.tensors import DIGEST, read_header


class ModelIdentity(BaseModel):
    """Which weights made an index: their key, their trial, and their SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    trial: int
    sha256: str


class ImageEmbedder:
    """Embeds images with the weights of one file, translations included."""

    def __init__(self, file: AnyPath, device: torch.device) -> None:
        self.device = device
        self.model = load_model(file, device).ready()
        provenance = self.model.provenance
        self.size = provenance.config.image
        self.dimensions = provenance.config.reid.stripes * provenance.config.reid.embedding
        self.identity = ModelIdentity(
            key=provenance.key, trial=provenance.trial, sha256=read_header(file)[DIGEST]
        )

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """Pixels (3, H, W) of an RGB image at the model's size, resized as in training."""
        return pixels(image, self.size.height, self.size.width)

    def embed(self, images: NDArray[np.uint8], modality: Modality) -> NDArray[np.float32]:
        """Unit vectors (n, d) of images (n, 3, H, W); their dot product is the cosine similarity."""
        embeddings = embed_pixels(self.model, torch.from_numpy(images), modality, self.device)
        return F.normalize(embeddings).numpy()


def told_modality(image: NDArray[np.uint8]) -> Modality:
    """The modality that an image (3, H, W) shows: infrared if its three channels are equal."""
    return "infrared" if (image == image[:1]).all() else "visible"
