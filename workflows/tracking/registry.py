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

import mlflow
import numpy as np
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.signature import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

import tsme
from tsme.errors import UserError
from tsme.storage.object_store import AnyPath, RemotePath
from workflows.tracking.runs import MlflowRun, check, connect, once
from workflows.tracking.server import redact, why_lost

CHAMPION = "champion"
VARIABLE = "MLFLOW_TRACKING_URI"
WEIGHTS = "weights"
# What loading the model takes.
SERVING = ("torch", "torchvision", "numpy", "pillow", "pydantic", "safetensors")


@dataclass(frozen=True)
class Candidate:
    """What a version is judged by: `score` on held-out identities of the data they come from."""

    score: float
    validation_set: str
    data_fingerprint: str


def register(
    run: MlflowRun, name: str, weights: Mapping[int, AnyPath], descriptor: int, candidate: Candidate
) -> int:
    """Log the weights of all trials as one model of `run` and register it; returns its version.

    `descriptor` is the length of a descriptor. The same weights of a run are registered once: asked
    again (after a resume), it returns the version they are in.
    """
    keys = ",".join(path.stem for path in weights.values())
    with connect(run.uri) as client, _store(run.uri):
        with once():
            client.create_registered_model(name)
        for known in _versions(client, run, name, keys):
            return known
        model = _log_model(client, run, weights, descriptor)
        tags = {
            "validation_mAP": repr(candidate.score),
            "validation_set": candidate.validation_set,
            "data_fingerprint": candidate.data_fingerprint,
            "weights": keys,
        }
        client.create_model_version(name, f"models:/{model}", run.run_id, tags=tags, model_id=model)
        version, *twins = _versions(client, run, name, keys)
        for twin in twins:  # made where an answer was lost
            with once():
                client.delete_model_version(name, str(twin))
    return version


def _versions(client: MlflowClient, run: MlflowRun, name: str, keys: str) -> list[int]:
    """The versions that hold these weights of the run."""
    found = client.search_model_versions(f"name = '{name}' and run_id = '{run.run_id}'")
    return sorted(int(version.version) for version in found if version.tags.get("weights") == keys)


def _log_model(
    client: MlflowClient, run: MlflowRun, weights: Mapping[int, AnyPath], descriptor: int
) -> str:
    """The weights, and the code that loads them, as an MLflow model of the run; returns its id.

    Not by mlflow.pyfunc.log_model, which works on a process-wide active run, and when the server is away
    waits for it again to say so.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    params = client.get_run(run.run_id).data.params
    model = client.create_logged_model(run.experiment_id, "model", run.run_id, params=params)
    known = Model(model.artifact_location, run.run_id, model_uuid=model.model_id, model_id=model.model_id)
    with TemporaryDirectory() as folder:
        data = Path(folder) / WEIGHTS  # MLflow keeps the folder's name
        data.mkdir()
        for path in weights.values():
            if isinstance(path, RemotePath):
                path.download(data / path.name)
            else:
                os.symlink(path.resolve(), data / path.name)
        mlflow.pyfunc.save_model(
            path=f"{folder}/model",
            mlflow_model=known,
            loader_module="tsme.serving",
            data_path=str(data),
            code_paths=[str(Path(tsme.__file__).parent)],
            signature=_signature(descriptor),
            input_example=np.full((1, 128, 64, 3), 128, dtype=np.uint8),
            pip_requirements=[f"{package}=={version(package)}" for package in SERVING],
        )
        client.log_model_artifacts(model.model_id, f"{folder}/model")
    client.finalize_logged_model(model.model_id, "READY")
    _link(client, run.run_id, str(model.model_id))
    for left in client.search_logged_models([run.experiment_id], f"source_run_id = '{run.run_id}'"):
        if left.status != LoggedModelStatus.READY:  # of an attempt whose answer, or process, was lost
            with once():
                client.delete_logged_model(left.model_id)
    return str(model.model_id)


def _link(client: MlflowClient, run_id: str, model_id: str) -> None:
    """Note the model as an output of the run; asked again after a lost answer, the server refuses."""
    try:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    except MlflowException:
        outputs = client.get_run(run_id).outputs
        if outputs is None or model_id not in {output.model_id for output in outputs.model_outputs}:
            raise


@contextmanager
def _store(uri: str) -> Iterator[None]:
    """MLflow's functions that take no client work on this store, for the block.

    So does a client's registry in a database, where it looks for a version's source. They are told
    through an environment variable, which would otherwise decide where later runs go.
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


def promote(run: MlflowRun, name: str, version_number: int, candidate: Candidate) -> str:
    """Give the version the alias `champion` if it earns it; returns, and tags it with, the reason."""
    with connect(run.uri) as client:
        decided = client.get_model_version(name, str(version_number)).tags.get("decision")
        if decided:  # a resumed run does not contest what came after it
            return str(decided)
        champion = _champion(client, name)
        if champion is None:
            wins, reason = True, "the first version"
        elif int(champion.version) == version_number:
            wins, reason = True, "as decided before it was interrupted"
        else:
            wins, reason = _decide(champion, candidate)
        reason = f"{'' if wins else 'not '}champion: validation mAP {candidate.score:.4f}, {reason}"
        if wins:
            client.set_registered_model_alias(name, CHAMPION, str(version_number))
        client.set_model_version_tag(name, str(version_number), "decision", reason)
    return reason


def _champion(client: MlflowClient, name: str) -> ModelVersion | None:
    """The present champion, None if there is none."""
    number = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if number is None else client.get_model_version(name, str(number))


def _decide(champion: ModelVersion, candidate: Candidate) -> tuple[bool, str]:
    """Whether the candidate takes the alias from the champion, and why."""
    tags = champion.tags
    if "validation_mAP" not in tags:
        return True, f"version {champion.version}, made by others, has no score to compare with"
    if tags["data_fingerprint"] != candidate.data_fingerprint:
        return True, f"version {champion.version} is of other data, with which scores do not compare"
    theirs = float(tags["validation_mAP"])
    wins = candidate.score > theirs
    people = (
        "" if tags["validation_set"] == candidate.validation_set else " (on other held-out identities)"
    )
    return wins, f"{'' if wins else 'not '}above version {champion.version}'s {theirs:.4f}{people}"


def fetch(uri: str, tracking: str, target: Path) -> Path:
    """Download a registered model (models:/NAME@ALIAS or models:/NAME/VERSION); returns its folder.

    Raises UserError if the store does not answer, or has no such model.
    """
    check(tracking)
    with connect(tracking), _store(tracking):
        try:
            folder = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(target))
        except MlflowException as error:
            if why_lost(error):
                raise
            raise UserError(f"{uri}: not found in {redact(tracking)} ({error.message})") from None
    return Path(folder) / "data" / WEIGHTS
