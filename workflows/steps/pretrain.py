"""Pretrain backbones on synthetic identities, where the configuration asks for such weights."""

from __future__ import annotations

import tempfile
from pathlib import Path

import ray
import torch
from ray.actor import ActorHandle
from torch import Tensor

from tsme.config import BackboneConfig, Config, ResourcesConfig
from tsme.errors import failure
from tsme.storage.object_store import AnyPath
from tsme.training.distributed import Worker
from tsme.training.pretrain import SEED, SyntheticWeights, pretrain, read_all_images
from workflows.bars import progress_bars
from workflows.cluster.resources import cpus_per_worker
from workflows.progress import Display
from workflows.run import WorkflowRun
from workflows.steps.epochs import EpochLog, run_and_report
from workflows.synthetic_data import generate_with_progress
from workflows.tracking.runs import MlflowRun

THREADS = 4  # more hardly speed up so small a network


def pretrain_backbones(run: WorkflowRun, config: Config, *, only_generators: bool = False) -> None:
    """Train the synthetic initial weights of `config`'s backbones, unless their files exist.

    Raises JobFailed with the cause.
    """
    training = run.training(config, next(iter(run.trials)), only_generators=only_generators)
    backbones: set[BackboneConfig] = {getattr(config, stage).backbone for stage in training.stages}
    synthetic = {SyntheticWeights.of(backbone, config.image) for backbone in backbones}
    for weights in sorted((w for w in synthetic if w is not None), key=lambda w: w.key):
        file = weights.file(run.out / "stages")
        if not file.is_file():
            identities = weights.recipe.identities
            with run.step(f"pretrain: a backbone on {identities} other synthetic identities"):
                _pretrain(run, weights, file)


def _pretrain(run: WorkflowRun, weights: SyntheticWeights, file: AnyPath) -> None:
    """Generate the identities and train the backbone on them."""
    resources = run.config.resources
    # Next to a GPU use as many CPUs as a training worker; without one, what a node has.
    cpus = resources.cpus if resources.gpus else cpus_per_worker(max(resources.cpus, THREADS))
    trainer = _start_trainer(resources, cpus)  # it starts while the data are generated
    with tempfile.TemporaryDirectory() as folder:
        data, recipe = Path(folder) / "identities", weights.recipe
        with progress_bars(run.console) as bars:
            generate_with_progress(data, "regdb", recipe.identities, recipe.images, seed=SEED, bars=bars)
        images, labels = read_all_images(data, weights.image, recipe.modalities)
    stage_run = run.mlflow_run.child(
        "stage 0 backbone", f"backbone {weights.key}", {"stage": "backbone", "key": weights.key}
    )
    epochs = {"backbone": recipe.epochs}
    with Display(run.console, resources, run.status.record, epochs) as display:
        task = trainer.train.remote(weights, images, labels, file, stage_run, display.board)
        try:
            ray.get(task)
        except ray.exceptions.RayError as error:
            raise failure(error, "pretraining a backbone") from None
    stage_run.close()


class _Trainer:
    """Trains a backbone, as a Ray actor."""

    def __init__(self, cpus: int, device: str) -> None:
        torch.set_num_threads(cpus)
        self.worker = Worker(device=torch.device(device))

    def train(
        self,
        weights: SyntheticWeights,
        images: Tensor,
        labels: Tensor,
        file: AnyPath,
        run: MlflowRun,
        board: ActorHandle,
    ) -> None:
        """Train on images uint8 (n, 3, H, W) and their labels (n,); write the weights to `file`."""
        log = EpochLog("synthetic identities", {"backbone": run}, board)
        run_and_report(pretrain(weights, images, labels, file, self.worker), log)


def _start_trainer(resources: ResourcesConfig, cpus: int) -> ActorHandle:
    trainer = ray.remote(num_cpus=cpus, num_gpus=resources.gpus or 0, max_restarts=2, max_task_retries=2)(
        _Trainer
    )
    return trainer.remote(cpus, "cuda" if resources.gpus else "cpu")
