"""The tracking server's address: passwords are taken out of it, a relative path is made absolute."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workflows.tracking.server import redact, tracking_uri


def test_passwords_are_taken_from_addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    names = [f"MLFLOW_TRACKING_{part}" for part in ("URI", "USERNAME", "PASSWORD")]
    for name, value in zip(names, ("https://a%40b:p%2Fw@host:5000/x", "other", "other"), strict=True):
        monkeypatch.setenv(name, value)
    assert tracking_uri(tmp_path) == "https://host:5000/x"
    assert [os.environ[name] for name in names] == ["https://host:5000/x", "a@b", "p/w"]
    # A database keeps its password but is printed without; the redacted address finds it again.
    database = "postgresql://user:pass@host/records?sslpassword=pass"
    monkeypatch.setenv(names[0], database)
    assert redact(database) == "postgresql://host/records"
    assert tracking_uri(tmp_path, "postgresql://host/records") == database
    (tmp_path / "other.db").touch()
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert tracking_uri(tmp_path, other) == redact(other) == other


def test_a_relative_store_is_made_absolute_for_workers(monkeypatch: pytest.MonkeyPatch, in_folder: Path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert tracking_uri(Path("/elsewhere")) == f"sqlite:///{in_folder / 'mlflow.db'}"
