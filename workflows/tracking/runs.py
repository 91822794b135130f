"""MLflow runs: a parent for each workflow run, a child for each stage, sweep sample and evaluated trial.

The driver creates the runs and passes `MlflowRun` objects to workers, which log to them by id. A
restarted worker therefore continues in the same run.

MLflow's client repeats a request that gets no answer, so the server may process a request twice. Logging
the same metrics, parameters and tags twice changes nothing; a run that was created twice is deleted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource
from mlflow.entities import Dataset, DatasetInput, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from torch import Tensor

from tsme.config import Config
from tsme.errors import JobFailed, UserError
from tsme.settings import flatten
from tsme.storage.object_store import AnyPath
from tsme.training.loop import EpochResult
from workflows.tracking.provenance import provenance_tags, source_tags
from workflows.tracking.server import (
    ARTIFACTS,
    check_server,
    connect,
    ignore_repeated,
    local_path,
    redact,
    repeat_if_cut_off,
    short_timeouts,
    sqlite_file,
    why_lost,
)

PARENT_TAG = "mlflow.parentRunId"
KEY_TAG = "tsme.key"


@dataclass(frozen=True)
class MlflowRun:
    """An MLflow run by id: all that a worker needs to log to it."""

    uri: str
    experiment_id: str
    run_id: str

    def child(self, name: str, key: str, params: Mapping[str, Any]) -> MlflowRun:
        """The child run with this key, open for logging; created if there is none."""
        with connect(self.uri) as client:
            known = next(search_runs(client, self.experiment_id, _with_key(self.run_id, key)), None)
            if known is None:
                run_id = _create(client, self.experiment_id, name, self.run_id, key, source_tags())
            else:
                run_id = known.info.run_id
                client.update_run(run_id, status="RUNNING")
        run = MlflowRun(self.uri, self.experiment_id, run_id)
        if known is None or not known.data.params:
            run.log_params(params)
        return run

    def log_params(self, params: Mapping[str, Any]) -> None:
        entities = [Param(name, str(value)) for name, value in params.items()]
        with connect(self.uri) as client:
            repeat_if_cut_off(lambda: client.log_batch(self.run_id, params=entities))

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        now = int(1000 * time.time())
        entities = [Metric(name, value, now, step) for name, value in metrics.items()]
        with connect(self.uri) as client:
            repeat_if_cut_off(lambda: client.log_batch(self.run_id, metrics=entities))

    def log_epoch(self, result: EpochResult) -> None:
        """Log the losses, metrics, seconds and preview image of one epoch."""
        losses = {f"loss/{name}": value for name, value in result.losses.items()}
        self.log_metrics(losses | result.metrics | {"epoch_seconds": result.seconds}, step=result.epoch)
        if result.preview is not None:
            self.log_image(result.preview, f"translations/epoch_{result.epoch:03d}.png")

    def tag(self, tags: Mapping[str, str]) -> None:
        entities = [RunTag(name, value) for name, value in tags.items()]
        with connect(self.uri) as client:
            repeat_if_cut_off(lambda: client.log_batch(self.run_id, tags=entities))

    def log_image(self, image: Tensor, file: str) -> None:
        """Log an image (3, H, W) uint8 as the artifact `file`, such as "translations/epoch_003.png"."""
        with connect(self.uri) as client:
            client.log_image(self.run_id, image.permute(1, 2, 0).numpy(), artifact_file=file)

    def log_file(self, path: Path) -> None:
        """Log a file as an artifact under its own name."""
        with connect(self.uri) as client:
            client.log_artifact(self.run_id, str(path))

    def close_running_children(self, status: str) -> None:
        """Close child runs that are still open: of samples stopped early, of interrupted stages."""
        running = f"tags.`{PARENT_TAG}` = '{self.run_id}' and attributes.status = 'RUNNING'"
        with connect(self.uri) as client:
            for run in list(search_runs(client, self.experiment_id, running)):
                client.set_terminated(run.info.run_id, status=status)

    def close(self, status: str = "FINISHED") -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        with connect(self.uri) as client:
            client.set_terminated(self.run_id, status=status)

    def abandon(self, status: str) -> None:
        """Close the run and its children, if the store answers at once: an error is being reported."""
        with suppress(JobFailed, UserError), short_timeouts():
            self.close_running_children(status)
            self.close(status)


def open_parent_run(
    uri: str, config: Config, name: str, data: AnyPath, fingerprint: str, run_id: str | None
) -> MlflowRun:
    """The parent run of a workflow run: a new one, or `run_id` opened again.

    Raises UserError if the store has no such run.
    """
    with connect(uri) as client:
        if run_id is not None:
            return _reopen(client, uri, run_id)
        experiment = _experiment_id(client, uri, experiment_name(config))
        description = f"`tsme {name}` on {data} (fingerprint {fingerprint})"
        tags = source_tags() | provenance_tags(fingerprint) | {"mlflow.note.content": description}
        created = _create(client, experiment, name, None, uuid4().hex, tags)
        run = MlflowRun(uri, experiment, created)
        run.log_params(flatten(config.model_dump(mode="json")))
        source = LocalArtifactDatasetSource(str(data))
        dataset = MetaDataset(source, name=f"{config.dataset}: {data.name}", digest=fingerprint)
        client.log_inputs(run.run_id, [DatasetInput(Dataset(**dataset.to_dict()))])
    return run


def experiment_name(config: Config) -> str:
    """MLFLOW_EXPERIMENT_NAME, by default tsme-DATASET."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or f"tsme-{config.dataset}"


def check_store(uri: str, experiment: str) -> None:
    """Check, before a cluster is used, that runs can be logged to the experiment.

    Raises UserError if the server does not answer or refuses the user, if the experiment is deleted, or
    if its artifacts belong into a folder that has moved.
    """
    check_server(uri)
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        return
    with connect(uri) as client:
        known = client.get_experiment_by_name(experiment)
    if known is None:
        return
    if known.lifecycle_stage == "deleted":
        raise UserError(
            f"experiment {experiment} of {redact(uri)} is deleted: restore it with `mlflow experiments "
            f"restore --experiment-id {known.experiment_id}`, or name another in MLFLOW_EXPERIMENT_NAME"
        )
    location = str(known.artifact_location)
    if file is None or not location.startswith("file:"):
        return
    folder = local_path(location).parent
    if not folder.exists():
        raise UserError(
            f"experiment {experiment} of {redact(uri)} keeps its artifacts in {folder}, which does not "
            f"exist; if the project's folder has moved, link it to where it was: ln -s NEW {folder}"
        )


def _reopen(client: MlflowClient, uri: str, run_id: str) -> MlflowRun:
    try:
        run = client.get_run(run_id)
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if why_lost(error):
            raise
        raise UserError(
            f"{redact(uri)}: cannot continue MLflow run {run_id} ({error.message}); `mlflow runs restore "
            f"--run-id {run_id}` restores a deleted run"
        ) from None
    return MlflowRun(uri, run.info.experiment_id, run_id)


def _with_key(parent: str | None, key: str) -> str:
    """A filter for the runs with this key, among the children of `parent` if given."""
    child = f"tags.`{PARENT_TAG}` = '{parent}' and " if parent else ""
    return f"{child}tags.`{KEY_TAG}` = '{key}'"


def search_runs(client: MlflowClient, experiment: str, filter_string: str) -> Iterator[Run]:
    """All runs that match, page by page."""
    token = None
    while True:
        page = client.search_runs([experiment], filter_string, page_token=token)
        yield from page
        if not (token := page.token):
            return


def _create(
    client: MlflowClient,
    experiment: str,
    name: str,
    parent: str | None,
    key: str,
    tags: dict[str, str],
) -> str:
    """The id of a new run. A twin, made by a repeated request whose answer was lost, is deleted."""
    tags = tags | {KEY_TAG: key} | ({PARENT_TAG: parent} if parent else {})
    created = str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)
    for run in list(search_runs(client, experiment, _with_key(parent, key))):
        if run.info.run_id != created:
            with ignore_repeated():
                client.delete_run(run.info.run_id)
    return created


def _experiment_id(client: MlflowClient, uri: str, name: str) -> str:
    """The id of the experiment of this name, which is created if there is none."""
    location = None  # a server decides where its artifacts go
    if (file := sqlite_file(uri)) is not None:
        location = file.with_name(ARTIFACTS).as_uri()
    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    with ignore_repeated():  # another process may have created it meanwhile
        return str(client.create_experiment(name, artifact_location=location))
    return str(client.get_experiment_by_name(name).experiment_id)
