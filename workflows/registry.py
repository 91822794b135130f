"""The model registry: one version holds a run's weights of all trials; `champion` is the best version.

What decides is the validation score, never a test figure.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models.signature import ModelSignature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

import tsme
from tsme.errors import UserError
from workflows.tracking import Run

CHAMPION = "champion"
VARIABLE = "MLFLOW_TRACKING_URI"
WEIGHTS = "weights"
# What loading the model takes.
SERVING = ("torch", "torchvision", "numpy", "pillow", "pydantic", "safetensors")


@dataclass(frozen=True)
class Candidate:
    """What a version is judged by: `score` on held-out people of the data they come from."""

    score: float
    validation_set: str
    data_fingerprint: str


def register(
    run: Run, name: str, weights: Mapping[int, Path], descriptor: int, candidate: Candidate
) -> int:
    """Log the weights of all trials as one model of `run` and register it; returns its version.

    `descriptor` is the length of a descriptor. The same weights of a run are registered once: asked
    again (after a resume), it returns the version they are in.
    """
    _create_name(run, name)
    keys = ",".join(path.stem for path in weights.values())
    for known in run.client.search_model_versions(f"name = '{name}' and run_id = '{run.run_id}'"):
        if known.tags.get("weights") == keys:
            return int(known.version)
    info = _log_model(run, weights, descriptor)
    tags = {
        "validation_mAP": repr(candidate.score),
        "validation_set": candidate.validation_set,
        "data_fingerprint": candidate.data_fingerprint,
        "weights": keys,
    }
    created = run.client.create_model_version(
        name, info.model_uri, run.run_id, tags=tags, model_id=info.model_id
    )
    return int(created.version)


def _create_name(run: Run, name: str) -> None:
    try:
        run.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _log_model(run: Run, weights: Mapping[int, Path], descriptor: int) -> Any:
    """The weights, and the code that loads them, as an MLflow model of the run."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with (
        _store(run.uri),
        TemporaryDirectory() as folder,
        mlflow.start_run(run_id=run.run_id),
    ):
        data = Path(folder) / WEIGHTS  # MLflow keeps the folder's name
        data.mkdir()
        for path in weights.values():
            os.symlink(path.resolve(), data / path.name)
        info = mlflow.pyfunc.log_model(
            name="model",
            loader_module="tsme.serving",
            data_path=str(data),
            code_paths=[str(Path(tsme.__file__).parent)],
            signature=_signature(descriptor),
            input_example=np.full((1, 128, 64, 3), 128, dtype=np.uint8),
            pip_requirements=[f"{package}=={version(package)}" for package in SERVING],
        )
    run.client.update_run(run.run_id, status="RUNNING")  # start_run's end has finished it
    return info


@contextmanager
def _store(uri: str) -> Iterator[None]:
    """MLflow's functions that take no client work on this store, for the block.

    They are told through an environment variable, which would otherwise decide where later runs go.
    """
    before = os.environ.get(VARIABLE)
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


def _signature(descriptor: int) -> ModelSignature:
    """Images (n, height, width, 3) to descriptors (n, descriptor)."""
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, descriptor))]),
        params=ParamSchema([ParamSpec("modality", "string", "visible"), ParamSpec("trial", "long", 0)]),
    )


def promote(run: Run, name: str, version_number: int, candidate: Candidate) -> str:
    """Give the version the alias `champion` if it earns it; returns, and tags it with, the reason."""
    client = run.client
    decided = client.get_model_version(name, str(version_number)).tags.get("decision")
    if decided:  # a resumed run does not contest what came after it
        return str(decided)
    champion = _champion(run, name)
    wins, reason = (True, "the first version") if champion is None else _decide(champion, candidate)
    reason = f"{'' if wins else 'not '}champion: validation mAP {candidate.score:.4f}, {reason}"
    if wins:
        client.set_registered_model_alias(name, CHAMPION, str(version_number))
    client.set_model_version_tag(name, str(version_number), "decision", reason)
    return reason


def _champion(run: Run, name: str) -> ModelVersion | None:
    """The present champion, None if there is none."""
    model = run.client.get_registered_model(name)
    number = model.aliases.get(CHAMPION)
    return None if number is None else run.client.get_model_version(name, str(number))


def _decide(champion: ModelVersion, candidate: Candidate) -> tuple[bool, str]:
    """Whether the candidate takes the alias from the champion, and why."""
    tags = champion.tags
    if tags["data_fingerprint"] != candidate.data_fingerprint:
        return True, f"version {champion.version} is of other data, with which scores do not compare"
    theirs = float(tags["validation_mAP"])
    wins = candidate.score > theirs
    people = "" if tags["validation_set"] == candidate.validation_set else " (on other held-out people)"
    return wins, f"{'' if wins else 'not '}above version {champion.version}'s {theirs:.4f}{people}"


def fetch(uri: str, tracking: str, target: Path) -> Path:
    """Download a registered model (models:/NAME@ALIAS or models:/NAME/VERSION); returns its folder."""
    try:
        with _store(tracking):
            folder = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(target))
    except MlflowException as error:
        raise UserError(f"{uri}: not found in {tracking} ({error.message})") from None
    return Path(folder) / "data" / WEIGHTS
