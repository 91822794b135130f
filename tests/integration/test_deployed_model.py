"""The registered model, served by MLflow from an environment that holds its own requirements only."""

from __future__ import annotations

import base64
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from PIL import Image

from tests.support.object_store import free_port
from tsme.models.checkpoint import Provenance, TrialModel, save_model
from tsme.models.dsgan import Generators
from tsme.models.reid import TsmeNet
from tsme.serving import Embedder
from workflows.tracking import registry
from workflows.tracking.registry import Candidate
from workflows.tracking.runs import open_parent_run
from workflows.tracking.server import tracking_uri

SECONDS = 1200  # to install torch and the others, where they are not in uv's cache
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def weights(tmp_path: Path, tiny_config) -> Path:
    """The folder of an untrained model of trial 1."""
    torch.manual_seed(0)
    model = TrialModel(
        Provenance(config=tiny_config, trial=1, train_identities=(1, 2), fingerprint="f", key="k"),
        TsmeNet(tiny_config.reid, 2).eval(),
        Generators(tiny_config.dsgan).eval(),
    )
    save_model(tmp_path / "weights" / "trial01-k.safetensors", model)
    return tmp_path / "weights"


@pytest.mark.slow
@pytest.mark.skipif(UV is None, reason="uv, which MLflow makes the environment with, is not installed")
def test_it_embeds_encoded_images_in_a_clean_environment(
    in_folder: Path, empty_store: Path, tiny_config, tiny_data, weights: Path
):
    shutil.copy(empty_store, in_folder)
    uri = tracking_uri(in_folder)
    run = open_parent_run(uri, tiny_config, "test", tiny_data, "data", None)
    registry.register(
        run, "m", {1: weights / "trial01-k.safetensors"}, 96, Candidate(0.5, "held out", "data")
    )
    pixels = np.random.default_rng(0).integers(0, 256, (128, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content := io.BytesIO(), "PNG")
    request = {
        "dataframe_records": [{"image": base64.b64encode(content.getvalue()).decode()}],
        "params": {"modality": "infrared"},
    }
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", "models:/m/1"]
    command += ["--port", str(port), "--env-manager", "uv"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_ENV_ROOT": str(in_folder / "environments"),
        "PATH": f"{Path(UV).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        try:
            answer = post_when_ready(process, f"http://127.0.0.1:{port}", request)
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # its workers too
    expected = Embedder(weights).predict(pixels[None], {"modality": "infrared"})
    np.testing.assert_allclose(answer["predictions"], expected, atol=1e-5)


def post_when_ready(process: subprocess.Popen[bytes], url: str, request: object) -> dict[str, object]:
    """The answer to a request, once the server is there."""
    for _ in range(SECONDS):
        assert process.poll() is None, "the server has ended"
        try:
            requests.get(f"{url}/ping", timeout=5)
            break
        except requests.ConnectionError:
            time.sleep(1)
    response = requests.post(f"{url}/invocations", json=request, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()
