"""The model registry. A version holds a run's weights of all trials; the alias `champion` marks the best.

Versions are compared by validation score, never by a test figure, and only if their data are the same.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
import pandas
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models.signature import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType
from PIL import Image

import tsme
from tsme.errors import UserError
from tsme.storage.object_store import AnyPath, RemotePath
from workflows.cluster.environment import changed
from workflows.tracking.runs import MlflowRun
from workflows.tracking.server import (
    ARTIFACTS,
    check_server,
    connect,
    ignore_repeated,
    local_path,
    redact,
    sqlite_file,
    why_lost,
)

CHAMPION = "champion"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
WEIGHTS = "weights"
# The packages that loading the model requires.
SERVING_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "pydantic", "safetensors")


@dataclass(frozen=True)
class Candidate:
    """What decides on promotion: `score`, the validation mAP in [0, 1], and where it was measured."""

    score: float
    validation_set: str
    data_fingerprint: str


def register(
    run: MlflowRun, name: str, weights: Mapping[int, AnyPath], dimensions: int, candidate: Candidate
) -> int:
    """Log the weights of all trials as a model of the run and register it; returns the version's number.

    `dimensions` is the length of an embedding. The same weights of a run are registered once: when
    called again (in a resumed run), this returns the version they are in. If an answer is lost, the
    repeated request creates a second version, which is deleted.
    """
    keys = ",".join(path.stem for path in weights.values())
    with connect(run.uri) as client, _default_store(run.uri):
        with ignore_repeated():
            client.create_registered_model(name)
        for known in _versions(client, run, name, keys):
            return known
        model_id = _log_model(client, run, weights, dimensions)
        tags = {
            "validation_mAP": repr(candidate.score),
            "validation_set": candidate.validation_set,
            "data_fingerprint": candidate.data_fingerprint,
            "weights": keys,
        }
        client.create_model_version(name, f"models:/{model_id}", run.run_id, tags=tags, model_id=model_id)
        number, *twins = _versions(client, run, name, keys)
        for twin in twins:
            with ignore_repeated():
                client.delete_model_version(name, str(twin))
        # A server sets this tag, by which the model's page shows its version; a SQLite store does not.
        registered = json.dumps([{"name": name, "version": number}])
        client.set_logged_model_tags(model_id, {"mlflow.modelVersions": registered})
    return number


def _versions(client: MlflowClient, run: MlflowRun, name: str, keys: str) -> list[int]:
    """The versions that hold these weights of the run, in ascending order."""
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run.run_id}'")
    return sorted(int(v.version) for v in versions if v.tags.get("weights") == keys)


def _log_model(
    client: MlflowClient, run: MlflowRun, weights: Mapping[int, AnyPath], dimensions: int
) -> str:
    """Log the weights, and the code that loads them, as an MLflow model of the run; returns its id.

    The model is created and linked to the run here, because `log_model` would do it for the active run
    only: it would end that run, and fail if the answer to its request for the link is lost, since the
    server refuses to link twice.
    """
    params = client.get_run(run.run_id).data.params
    model = client.create_logged_model(run.experiment_id, "model", run.run_id, params=params)
    model_id = str(model.model_id)
    _link(client, run.run_id, model_id)
    with TemporaryDirectory() as folder:
        data = Path(folder) / WEIGHTS  # MLflow keeps the folder's name
        data.mkdir()
        for path in weights.values():
            if isinstance(path, RemotePath):
                path.download(data / path.name)
            else:
                os.symlink(path.resolve(), data / path.name)
        with _unchanged_path():
            mlflow.pyfunc.log_model(
                model_id=model_id,
                loader_module="tsme.serving",
                data_path=str(data),
                code_paths=[str(Path(tsme.__file__).parent)],
                signature=_signature(dimensions),
                input_example=_example(),
                pip_requirements=[f"{package}=={version(package)}" for package in SERVING_PACKAGES],
            )
    for other in client.search_logged_models([run.experiment_id], f"source_run_id = '{run.run_id}'"):
        if other.status != LoggedModelStatus.READY:  # of an interrupted attempt, or created twice
            with ignore_repeated():
                client.delete_logged_model(other.model_id)
    return model_id


def _link(client: MlflowClient, run_id: str, model_id: str) -> None:
    """Record the model as an output of the run. The server refuses the repetition after a lost answer."""
    try:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    except MlflowException:
        outputs = client.get_run(run_id).outputs
        if outputs is None or model_id not in {output.model_id for output in outputs.model_outputs}:
            raise


@contextmanager
def _unchanged_path() -> Iterator[None]:
    """Restore sys.path after the block: MLflow loads the model to try the example, and adds its code."""
    before = sys.path
    try:
        yield
    finally:
        sys.path = before


@contextmanager
def _default_store(uri: str) -> Iterator[None]:
    """Make this the store of MLflow's functions that take no client, for the block.

    The registry of a SQLite store also looks for a version's source in the default store. MLflow keeps it
    in an environment variable, which would otherwise decide where later runs go.
    """
    with changed({URI_VARIABLE: uri}):
        mlflow.set_tracking_uri(uri)
        yield


def _example() -> pandas.DataFrame:
    """A table with the bytes of an image file of RegDB's size."""
    shades = Image.linear_gradient("L").resize((64, 128)).convert("RGB")
    shades.save(content := io.BytesIO(), "PNG")
    return pandas.DataFrame({"image": [content.getvalue()]})


def _signature(dimensions: int) -> ModelSignature:
    """Bytes or pixels of images (see `tsme.serving`) to embeddings (n, dimensions) float32."""
    return ModelSignature(
        inputs=Schema([ColSpec(AnyType(), "image")]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, dimensions))]),
        params=ParamSchema([ParamSpec("modality", "string", "visible"), ParamSpec("trial", "long", 0)]),
    )


def promote(run: MlflowRun, name: str, number: int, candidate: Candidate) -> str:
    """Move the alias `champion` to the version if it is the best; returns the decision and its reason.

    The decision is saved as a tag of the version. A resumed run returns it and decides nothing again.
    """
    with connect(run.uri) as client:
        decision = client.get_model_version(name, str(number)).tags.get("decision")
        if decision:
            return str(decision)
        champion = _champion(client, name)
        if champion is None:
            wins, reason = True, "the first version"
        elif int(champion.version) == number:
            wins, reason = True, "as decided before the interruption"
        else:
            wins, reason = _compare(champion, candidate, number)
        reason = f"{'' if wins else 'not '}champion: validation mAP {candidate.score:.4f}, {reason}"
        if wins:
            client.set_registered_model_alias(name, CHAMPION, str(number))
        client.set_model_version_tag(name, str(number), "decision", reason)
    return reason


def describe(run: MlflowRun, name: str, number: int, model: str, version: str) -> None:
    """Set the descriptions of the registered model and of its version, in Markdown."""
    with connect(run.uri) as client:
        client.update_registered_model(name, description=model)
        client.update_model_version(name, str(number), description=version)


def _champion(client: MlflowClient, name: str) -> ModelVersion | None:
    number = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if number is None else client.get_model_version(name, str(number))


def _compare(champion: ModelVersion, candidate: Candidate, number: int) -> tuple[bool, str]:
    """Whether the candidate replaces the champion, and why."""
    tags = champion.tags
    if "validation_mAP" not in tags:
        return True, f"version {champion.version}, registered by another program, has no validation mAP"
    if tags["data_fingerprint"] != candidate.data_fingerprint:
        return False, (
            f"which does not compare with version {champion.version}, the champion, of other data; to "
            f"promote this one, move the alias in MLflow's page or call MlflowClient()."
            f"set_registered_model_alias('{champion.name}', '{CHAMPION}', '{number}')"
        )
    best = float(tags["validation_mAP"])
    wins = candidate.score > best
    same_set = tags["validation_set"] == candidate.validation_set
    note = "" if same_set else " (on other held-out identities)"
    return wins, f"{'' if wins else 'not '}above version {champion.version}'s {best:.4f}{note}"


def fetch(uri: str, tracking_uri: str, target: Path) -> Path:
    """The folder of weights of a registered model (models:/NAME@ALIAS or models:/NAME/VERSION).

    Files of a server are downloaded to `target`. Raises UserError if the store does not answer, or if the
    model or its files do not exist.
    """
    check_server(tracking_uri)
    with connect(tracking_uri) as client, _default_store(tracking_uri):
        try:
            folder = _local_folder(client, uri, tracking_uri)
            if folder is None:
                folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(target)))
        except MlflowException as error:
            if why_lost(error):
                raise
            raise UserError(f"{uri}: not found in {redact(tracking_uri)} ({error.message})") from None
    return folder / "data" / WEIGHTS


def _local_folder(client: MlflowClient, uri: str, tracking_uri: str) -> Path | None:
    """The folder of a model in a SQLite store; None if its files are not on a local disk.

    A store keeps absolute paths. If the project's folder has moved, the files lie beside the store.
    """
    store, location = sqlite_file(tracking_uri), _location(client, uri)
    if store is None or not location.startswith("file:"):
        return None
    folder = local_path(location)
    if folder.exists():
        return folder
    _, marker, path = str(folder).rpartition(f"/{ARTIFACTS}/")
    moved = store.with_name(ARTIFACTS) / path
    if not (marker and moved.exists()):
        raise UserError(f"{uri}: its files should be in {folder}, which does not exist")
    return moved


def _location(client: MlflowClient, uri: str) -> str:
    """Where a version's files are, such as file:///project/mlartifacts/models/m-1/artifacts."""
    name, _, alias = uri.removeprefix("models:/").partition("@")
    if alias:
        number = client.get_model_version_by_alias(name, alias).version
    else:
        name, _, number = name.rpartition("/")
    return str(client.get_model_version_download_uri(name, str(number)))
