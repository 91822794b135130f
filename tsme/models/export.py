"""Export of one modality's embedding path to ONNX: uint8 images in, embeddings out."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tsme.data.images import grayscale
from tsme.data.transforms import to_pixels, to_range
from tsme.data.types import Modality
from tsme.errors import UserError
from tsme.models.checkpoint import TrialModel
from tsme.storage.atomic import replacing


class EmbeddingPath(nn.Module):
    """What `tsme.evaluation.features.embed_pixels` computes, as one network for one modality."""

    def __init__(self, model: TrialModel, modality: Modality) -> None:
        super().__init__()
        ready = model.ready()
        self.network, self.modality = ready.network, modality
        generators = ready.generators
        if generators is None:
            self.generator = None
        else:
            visible = modality == "visible"
            self.generator = generators.visible_to_infrared if visible else generators.infrared_to_visible

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (n, d) float32 of RGB images uint8 (n, 3, H, W)."""
        translation = None
        if self.generator is not None:
            # Rounded to pixels, as translations are in training.
            translation = to_range(to_pixels(self.generator(to_range(grayscale(images)))))
        return self.network.embed(to_range(images), translation, self.modality)


def export_onnx(file: Path, model: TrialModel, modality: Modality) -> None:
    """Write the embedding path of a modality to an ONNX file, of any batch size, with its provenance.

    Input `images`: uint8 (n, 3, H, W) RGB, resized by Lanczos to the model's size. Output `embeddings`:
    float32 (n, d). Raises UserError if the exporter is not installed.
    """
    try:
        import onnxscript  # noqa: F401 - what torch.onnx writes the graph with
    except ImportError as error:
        raise UserError(
            "exporting requires onnx and onnxscript; install them: pip install 'tsme[export]'"
        ) from error
    provenance = model.provenance
    size = provenance.config.image
    example = torch.zeros(2, 3, size.height, size.width, dtype=torch.uint8)
    program = torch.onnx.export(
        EmbeddingPath(model, modality).eval(),
        (example,),
        input_names=["images"],
        output_names=["embeddings"],
        dynamic_shapes={"images": {0: torch.export.Dim("n")}},
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props.update(
        {"modality": modality, "key": provenance.key, "trial": str(provenance.trial)}
    )
    with replacing(file) as temporary:
        program.save(temporary, external_data=False)
