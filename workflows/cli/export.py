"""`tsme export`: a trained model for programs without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workflows.cli.output import console
from workflows.cli.search import ModalityChoice, ModelOption, TrialOption


def export(
    model: ModelOption,
    modality: Annotated[ModalityChoice, typer.Option(help="Of the images that it will embed.")],
    onnx: Annotated[Path, typer.Option(metavar="FILE", help="ONNX file to write.")],
    trial: TrialOption = None,
) -> None:
    """Export the embedding of one modality's images, translation included, to ONNX.

    Input: `images`, uint8 (n, 3, height, width) RGB at the model's size. Output: `embeddings`, float32
    (n, d), to be compared with those of the other modality's export by their dot product.
    """
    import torch

    from tsme.models.checkpoint import load_model
    from tsme.models.export import export_onnx
    from workflows.weights import one_weights_file

    with one_weights_file(model, trial) as file:
        loaded = load_model(file, torch.device("cpu"))
    with console.status("exporting"):
        export_onnx(onnx, loaded, modality)
    size = loaded.provenance.config.image
    console.print(f"{modality} images of {size.height} x {size.width} pixels: {onnx}", soft_wrap=True)
