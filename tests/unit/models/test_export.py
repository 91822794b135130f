"""ONNX: onnxruntime gives the embeddings of PyTorch, for any batch size, translation included."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tsme.config import Config
from tsme.errors import UserError
from tsme.evaluation.features import embed_pixels
from tsme.models.checkpoint import TrialModel, save_model
from tsme.models.dsgan import Generators
from tsme.models.export import export_onnx
from tsme.models.reid import TsmeNet
from tsme.presets import regdb
from tsme.settings import override
from workflows.cli.main import main

STRONG = {"reid.share": "layer2", "reid.pooling_power": 3.0, "dsgan.residual": True, "dsgan.share": True}
CASES = {
    "published": ({}, "visible"),
    "strong": (STRONG, "infrared"),
    "one stream": ({"reid.translation": "none", "reid.iai": False}, "visible"),
}


def embedded(file: Path, images: torch.Tensor) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (embeddings,) = session.run(["embeddings"], {"images": images.numpy()})
    return embeddings


def assert_parity(file: Path, model: TrialModel, modality: str, images: torch.Tensor) -> None:
    expected = embed_pixels(model, images, modality, torch.device("cpu")).numpy()
    assert np.abs(embedded(file, images) - expected).max() <= 1e-4


@pytest.mark.parametrize("case", CASES)
def test_embeddings_are_those_of_pytorch(make_model, tiny: Config, unsettle, noise, tmp_path, case: str):
    settings, modality = CASES[case]
    config = override(tiny, settings)
    torch.manual_seed(0)
    network = TsmeNet(config.reid, 3)
    generators = Generators(config.dsgan) if config.reid.translation == "dsgan" else None
    for module in (network, generators):
        if module is not None:
            unsettle(module)
            module.eval().requires_grad_(False)
    provenance = make_model().provenance.model_copy(update={"config": config})
    model = TrialModel(provenance, network, generators)
    export_onnx(tmp_path / "model.onnx", model, modality)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    for count in (1, 3):
        assert_parity(tmp_path / "model.onnx", model, modality, noise(count, seed=count))


def test_the_command_names_size_and_file(make_model, noise, tmp_path, capsys):
    model = make_model()
    save_model(tmp_path / "trial01-a.safetensors", model)
    file = tmp_path / "infrared.onnx"
    arguments = ["export", "--model", str(tmp_path), "--modality", "infrared", "--onnx", str(file)]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert not stop.value.code
    assert f"infrared images of 32 x 16 pixels: {file}" in capsys.readouterr().out
    # Translations are rounded to pixels. This seed has no value so near a tie that the two libraries'
    # rounding errors decide which way it goes, which would change the embedding by about 5e-4.
    assert_parity(file, model, "infrared", noise(2, seed=1))


def test_without_the_exporter_the_error_says_what_to_install(make_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"pip install 'tsme\[export\]'"):
        export_onnx(tmp_path / "model.onnx", make_model(), "visible")


@pytest.mark.slow
def test_the_published_size_keeps_parity(make_model, unsettle, tmp_path):
    config = override(regdb(), {f"{stage}.backbone.weights": "none" for stage in ("dsgan", "reid")})
    torch.manual_seed(0)
    network, generators = TsmeNet(config.reid, 206), Generators(config.dsgan)
    for module in (network, generators):
        unsettle(module)
        module.eval().requires_grad_(False)
    provenance = make_model().provenance.model_copy(update={"config": config})
    model = TrialModel(provenance, network, generators)
    export_onnx(tmp_path / "model.onnx", model, "visible")
    images = torch.randint(256, (2, 3, 288, 144), generator=torch.Generator().manual_seed(0))
    assert_parity(tmp_path / "model.onnx", model, "visible", images.to(torch.uint8))
