"""MLflow runs: a parent for each workflow, a child for each stage, sweep sample and evaluated trial.

The driver creates the runs and hands `Run` objects to workers, which log to them by id; so a restarted
worker goes on in the run it was in.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource
from mlflow.entities import DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from torch import Tensor

from tsme.config import Config
from tsme.errors import UserError

PARENT_TAG = "mlflow.parentRunId"
KEY_TAG = "tsme.key"
PACKAGES = ("torch", "torchvision", "ray", "mlflow", "numpy", "optuna", "pillow")


def tracking_uri(folder: Path) -> str:
    """MLFLOW_TRACKING_URI where set, else a SQLite file in `folder`, as `mlflow ui` expects it there."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.resolve() / 'mlflow.db'}"


@dataclass(frozen=True)
class Run:
    """An MLflow run, by id: what a worker needs to log to it."""

    uri: str
    experiment_id: str
    run_id: str

    @property
    def client(self) -> MlflowClient:
        """A client of this run's store."""
        return MlflowClient(tracking_uri=self.uri)

    def child(self, name: str, key: str, params: Mapping[str, Any]) -> Run:
        """The child run of this key, created if this is the first time; open for logging either way."""
        found = self.client.search_runs(
            [self.experiment_id],
            f"tags.`{PARENT_TAG}` = '{self.run_id}' and tags.`{KEY_TAG}` = '{key}'",
            max_results=1,
        )
        if found:
            run_id = found[0].info.run_id
            self.client.update_run(run_id, status="RUNNING")
            return Run(self.uri, self.experiment_id, run_id)
        tags = {PARENT_TAG: self.run_id, KEY_TAG: key}
        created = self.client.create_run(self.experiment_id, tags=tags, run_name=name)
        run = Run(self.uri, self.experiment_id, created.info.run_id)
        run.log_params(params)
        return run

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Parameters by name; values are written as text."""
        entities = [Param(name, str(value)) for name, value in params.items()]
        self.client.log_batch(self.run_id, params=entities)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Measurements at a step, in one call."""
        now = mlflow.utils.time.get_current_time_millis()
        entities = [Metric(name, value, now, step) for name, value in metrics.items()]
        self.client.log_batch(self.run_id, metrics=entities)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Tags by name."""
        entities = [RunTag(name, value) for name, value in tags.items()]
        self.client.log_batch(self.run_id, tags=entities)

    def log_picture(self, picture: Tensor, file: str) -> None:
        """A picture (3, H, W) uint8, as an artifact such as "translations/epoch_003.png"."""
        self.client.log_image(self.run_id, picture.permute(1, 2, 0).numpy(), artifact_file=file)

    def log_file(self, path: Path) -> None:
        """A file, as an artifact under its own name."""
        self.client.log_artifact(self.run_id, str(path))

    def close_running_children(self, status: str) -> None:
        """End the child runs that nobody ended: of samples stopped early, of interrupted stages."""
        for run in self.client.search_runs(
            [self.experiment_id],
            f"tags.`{PARENT_TAG}` = '{self.run_id}' and attributes.status = 'RUNNING'",
        ):
            self.client.set_terminated(run.info.run_id, status=status)

    def close(self, status: str = "FINISHED") -> None:
        """End the run: FINISHED, FAILED or KILLED."""
        self.client.set_terminated(self.run_id, status=status)


def open_workflow(
    uri: str, config: Config, name: str, data: Path, fingerprint: str, run_id: str | None
) -> Run:
    """The parent run of a workflow: a new one, or `run_id` opened again.

    Raises UserError if the store has no such run.
    """
    client = MlflowClient(tracking_uri=uri)
    if run_id is not None:
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            raise UserError(f"{uri}: cannot continue MLflow run {run_id} ({error.message})") from None
        client.update_run(run_id, status="RUNNING")
        return Run(uri, run.info.experiment_id, run_id)
    experiment = _experiment(client, uri, f"tsme-{config.dataset}")
    created = client.create_run(experiment, run_name=name, tags=_origin_tags(fingerprint))
    run = Run(uri, experiment, created.info.run_id)
    run.log_params(flatten(config.model_dump(mode="json")))
    source = LocalArtifactDatasetSource(str(data))
    dataset = MetaDataset(source, name=f"{config.dataset}: {data.name}", digest=fingerprint)
    client.log_inputs(run.run_id, [DatasetInput(dataset._to_mlflow_entity())])
    return run


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None  # a server knows where its artifacts belong
    if uri.startswith("sqlite:///"):
        location = Path(uri.removeprefix("sqlite:///")).with_name("mlartifacts").as_uri()
    return str(client.create_experiment(name, artifact_location=location))


def _origin_tags(fingerprint: str) -> dict[str, str]:
    """What made the run: data, code and packages."""
    versions = {f"version.{package}": version(package) for package in PACKAGES}
    return versions | {
        "data_fingerprint": fingerprint,
        "git_revision": git_revision(),
        "version.python": platform.python_version(),
    }


def git_revision() -> str:
    """Revision of the code, with "+changes" where files differ from it; "unknown" outside of git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*"]
    try:
        here = Path(__file__).parent
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a.b": value} from nested dictionaries."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
