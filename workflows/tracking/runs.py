"""MLflow runs: a parent for each workflow, a child for each stage, sweep sample and evaluated trial.

The driver creates the runs and hands `MlflowRun` objects to workers, which log to them by id; so a restarted
worker goes on in the run it was in.

MLflow's client sends a request again when no answer comes. If only the answer was lost, the server does
twice what it is asked: the same metrics, parameters and tags once more change nothing, a second run is
found and deleted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import mlflow
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource
from mlflow.entities import DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from requests.exceptions import ChunkedEncodingError
from torch import Tensor

from tsme.config import Config
from tsme.errors import JobFailed, UserError
from tsme.storage.object_store import AnyPath
from workflows.cluster.environment import in_submitted_job, prepare_mlflow
from workflows.tracking.provenance import flatten, provenance_tags
from workflows.tracking.server import redact, short_timeouts, to_user_error, why_lost

PARENT_TAG = "mlflow.parentRunId"
KEY_TAG = "tsme.key"
SQLITE = "sqlite:///"
# A job submitted to a cluster may have been started together with its server: seconds it waits for it.
STARTING = 240


def tracking_uri(folder: Path, known: str | None = None) -> str:
    """The store to log to: the one `known` of the run to continue, if there is one.

    Else MLFLOW_TRACKING_URI where set, else a SQLite file in `folder`, as `mlflow ui` expects it there.
    """
    prepare_mlflow()
    asked = os.environ.get("MLFLOW_TRACKING_URI")
    if asked and asked.startswith(SQLITE):  # workers have other working folders
        asked = f"{SQLITE}{Path(asked.removeprefix(SQLITE)).resolve()}"
    if known and asked and redact(asked) == known:
        return asked  # with the password that is not written down
    return known or asked or f"{SQLITE}{folder.resolve() / 'mlflow.db'}"


def check(uri: str) -> None:
    """Ask the store, if it is a server, a first question, and do not wait long for the answer.

    Raises UserError if it cannot be reached or wants another password.
    """
    if not uri.startswith(("http://", "https://")):
        return
    deadline = time.monotonic() + (STARTING if in_submitted_job() else 0)
    while True:
        try:
            with short_timeouts():
                MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
            return
        except MlflowException as error:
            lost = why_lost(error)
            if lost is None:
                raise UserError(str(to_user_error(uri, error, 0))) from None
            if time.monotonic() > deadline or "resolve" in lost:
                raise UserError(f"MLFLOW_TRACKING_URI: no answer from {redact(uri)}: {lost}") from None
        time.sleep(2)


@contextmanager
def connect(uri: str) -> Iterator[MlflowClient]:
    """A client of a store; its errors in the block become a UserError or JobFailed naming the store."""
    prepare_mlflow()
    began = time.monotonic()
    try:
        yield MlflowClient(tracking_uri=uri)
    except (MlflowException, OSError) as error:
        if not isinstance(error, MlflowException) and not hasattr(error, "response"):
            raise  # a file, not a request
        raise to_user_error(uri, error, time.monotonic() - began) from error


@contextmanager
def once() -> Iterator[None]:
    """For a request that creates or deletes by name: that it is done already is as good."""
    try:
        yield
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
            raise


def again(request: Callable[[], None]) -> None:
    """Make a request that may be made twice, once more if its answer was cut off.

    MLflow's client repeats by itself what got no answer at all, but not this.
    """
    try:
        request()
    except MlflowException as error:
        if not isinstance(error.__context__, ChunkedEncodingError):
            raise
        request()


@dataclass(frozen=True)
class MlflowRun:
    """An MLflow run, by id: what a worker needs to log to it."""

    uri: str
    experiment_id: str
    run_id: str

    def child(self, name: str, key: str, params: Mapping[str, Any]) -> MlflowRun:
        """The child run of this key, created if this is the first time; open for logging either way."""
        with connect(self.uri) as client:
            found = client.search_runs([self.experiment_id], _of(self.run_id, key), max_results=1)
            if found:
                run_id, known = found[0].info.run_id, found[0].data.params
                client.update_run(run_id, status="RUNNING")
            else:
                run_id, known = _create(client, self.experiment_id, name, self.run_id, key, {}), {}
        run = MlflowRun(self.uri, self.experiment_id, run_id)
        if not known:
            run.log_params(params)
        return run

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Parameters by name; values are written as text."""
        entities = [Param(name, str(value)) for name, value in params.items()]
        with connect(self.uri) as client:
            again(lambda: client.log_batch(self.run_id, params=entities))

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Measurements at a step, in one call."""
        now = mlflow.utils.time.get_current_time_millis()
        entities = [Metric(name, value, now, step) for name, value in metrics.items()]
        with connect(self.uri) as client:
            again(lambda: client.log_batch(self.run_id, metrics=entities))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Tags by name."""
        entities = [RunTag(name, value) for name, value in tags.items()]
        with connect(self.uri) as client:
            again(lambda: client.log_batch(self.run_id, tags=entities))

    def log_picture(self, picture: Tensor, file: str) -> None:
        """A picture (3, H, W) uint8, as an artifact such as "translations/epoch_003.png"."""
        with connect(self.uri) as client:
            client.log_image(self.run_id, picture.permute(1, 2, 0).numpy(), artifact_file=file)

    def log_file(self, path: Path) -> None:
        """A file, as an artifact under its own name."""
        with connect(self.uri) as client:
            client.log_artifact(self.run_id, str(path))

    def close_running_children(self, status: str) -> None:
        """End the child runs that nobody ended: of samples stopped early, of interrupted stages."""
        mine = f"tags.`{PARENT_TAG}` = '{self.run_id}' and attributes.status = 'RUNNING'"
        with connect(self.uri) as client:
            for run in client.search_runs([self.experiment_id], mine):
                client.set_terminated(run.info.run_id, status=status)

    def close(self, status: str = "FINISHED") -> None:
        """End the run: FINISHED, FAILED or KILLED."""
        with connect(self.uri) as client:
            client.set_terminated(self.run_id, status=status)

    def abandon(self, status: str) -> None:
        """End the run and its children if the store answers at once: why they end matters more."""
        with suppress(JobFailed, UserError), short_timeouts():
            self.close_running_children(status)
            self.close(status)


def open_workflow(
    uri: str, config: Config, name: str, data: AnyPath, fingerprint: str, run_id: str | None
) -> MlflowRun:
    """The parent run of a workflow: a new one, or `run_id` opened again.

    Raises UserError if the store has no such run.
    """
    with connect(uri) as client:
        if run_id is not None:
            return _reopen(client, uri, run_id)
        experiment = _experiment(client, uri, f"tsme-{config.dataset}")
        created = _create(client, experiment, name, None, uuid4().hex, provenance_tags(fingerprint))
        run = MlflowRun(uri, experiment, created)
        run.log_params(flatten(config.model_dump(mode="json")))
        source = LocalArtifactDatasetSource(str(data))
        dataset = MetaDataset(source, name=f"{config.dataset}: {data.name}", digest=fingerprint)
        client.log_inputs(run.run_id, [DatasetInput(dataset._to_mlflow_entity())])
    return run


def _reopen(client: MlflowClient, uri: str, run_id: str) -> MlflowRun:
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if why_lost(error):
            raise
        message = f"{redact(uri)}: cannot continue MLflow run {run_id} ({error.message})"
        raise UserError(message) from None
    client.update_run(run_id, status="RUNNING")
    return MlflowRun(uri, run.info.experiment_id, run_id)


def _of(parent: str | None, key: str) -> str:
    """What finds the runs of this key."""
    child = f"tags.`{PARENT_TAG}` = '{parent}' and " if parent else ""
    return f"{child}tags.`{KEY_TAG}` = '{key}'"


def _create(
    client: MlflowClient,
    experiment: str,
    name: str,
    parent: str | None,
    key: str,
    tags: dict[str, str],
) -> str:
    """The id of a new run, the only one of this key: twins, made where an answer was lost, go."""
    tags = tags | {KEY_TAG: key} | ({PARENT_TAG: parent} if parent else {})
    created = str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)
    for run in client.search_runs([experiment], _of(parent, key)):
        if run.info.run_id != created:
            with once():
                client.delete_run(run.info.run_id)
    return created


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    location = None  # a server knows where its artifacts belong
    if uri.startswith(SQLITE):
        location = Path(uri.removeprefix(SQLITE)).with_name("mlartifacts").as_uri()
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    with once():  # perhaps another workflow did
        return str(client.create_experiment(name, artifact_location=location))
    return str(client.get_experiment_by_name(name).experiment_id)
