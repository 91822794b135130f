"""The model registry: one version holds a run's weights of all trials; `champion` is the best version.

What decides is the validation score, never a test figure.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models.signature import ModelSignature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

from tsme.errors import UserError
from workflows.tracking import PACKAGES, Run

CHAMPION = "champion"
WEIGHTS = "weights"


@dataclass(frozen=True)
class Candidate:
    """What a version is judged by: `score` on the people named by `validation_set`."""

    score: float
    validation_set: str


def register(
    run: Run, name: str, weights: Mapping[int, Path], descriptor: int, candidate: Candidate
) -> int:
    """Log the weights of all trials as one model of `run` and register it; returns its version.

    `descriptor` is the length of a descriptor. The same run registers once: asked again (after a
    resume), it returns the version it has.
    """
    known = run.client.search_model_versions(f"name = '{name}' and run_id = '{run.run_id}'")
    if known:
        return int(known[0].version)
    mlflow.set_tracking_uri(run.uri)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with TemporaryDirectory() as folder, mlflow.start_run(run_id=run.run_id):
        data = Path(folder) / WEIGHTS  # MLflow keeps the folder's name
        data.mkdir()
        for path in weights.values():
            os.symlink(path.resolve(), data / path.name)
        info = mlflow.pyfunc.log_model(
            name="model",
            loader_module="tsme.serving",
            data_path=str(data),
            signature=_signature(descriptor),
            input_example=np.full((1, 128, 64, 3), 128, dtype=np.uint8),
            pip_requirements=[f"{package}=={version(package)}" for package in PACKAGES],
        )
    tags = {
        "validation_mAP": repr(candidate.score),
        "validation_set": candidate.validation_set,
        "trials": ",".join(map(str, weights)),
    }
    with contextlib.suppress(MlflowException):  # it exists
        run.client.create_registered_model(name)
    created = run.client.create_model_version(
        name, info.model_uri, run.run_id, tags=tags, model_id=info.model_id
    )
    return int(created.version)


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
    try:
        champion = client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        champion = None
    if champion is not None and int(champion.version) == version_number:
        return str(champion.tags.get("decision", "champion already"))
    wins, reason = _decide(champion and champion.version, champion and champion.tags, candidate)
    if wins:
        client.set_registered_model_alias(name, CHAMPION, str(version_number))
    client.set_model_version_tag(name, str(version_number), "decision", reason)
    return reason


def _decide(
    champion: str | None, tags: Mapping[str, str] | None, candidate: Candidate
) -> tuple[bool, str]:
    """Whether the candidate takes the alias, and why."""
    ours = f"validation mAP {candidate.score:.4f}"
    if champion is None or tags is None:
        return True, f"champion: the first version ({ours})"
    if tags.get("validation_set") != candidate.validation_set:
        return True, (
            f"champion: version {champion} was validated on other people or data, so its score does "
            f"not compare; the newest takes the alias ({ours})"
        )
    theirs = float(tags["validation_mAP"])
    if candidate.score > theirs:
        return True, f"champion: {ours}, above version {champion}'s {theirs:.4f}"
    return False, f"not champion: {ours}, not above version {champion}'s {theirs:.4f}"


def fetch(uri: str, tracking: str, target: Path) -> Path:
    """Download a registered model (models:/NAME@ALIAS or models:/NAME/VERSION); returns its folder."""
    mlflow.set_tracking_uri(tracking)
    try:
        folder = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(target))
    except MlflowException as error:
        raise UserError(f"{uri}: not found in {tracking} ({error.message})") from None
    return Path(folder) / "data" / WEIGHTS
