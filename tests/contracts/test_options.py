"""What the command line's options become."""

from __future__ import annotations

from pathlib import Path

import pytest

from workflows.cli.options import build_config


def test_files_of_weights_are_named_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("backbone.safetensors").touch()
    settings = ["reid.backbone.weights=backbone.safetensors", "dsgan.backbone.weights=none"]
    config = build_config("regdb", settings)
    assert config.reid.backbone.weights == str(tmp_path / "backbone.safetensors")
    assert config.dsgan.backbone.weights == "none"
    assert build_config("regdb", []).reid.backbone.weights == "imagenet"
