"""First of all: backbones that learn from synthetic identities, where the configuration asks for them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import cast

import ray
import torch
from ray.actor import ActorHandle
from torch import Tensor

from tsme.config import BackboneConfig, Config, ResourcesConfig
from tsme.errors import failure
from tsme.storage.object_store import AnyPath
from tsme.training.distributed import Worker
from tsme.training.pretrain import SEED, SyntheticWeights, pretrain, read_people
from workflows.cluster.resources import cpus_per_worker
from workflows.progress import Display
from workflows.run import WorkflowRun
from workflows.spells import Spell
from workflows.synthetic_data import generate_with_progress
from workflows.tracking.epochs import epoch_event, log_epoch
from workflows.tracking.runs import MlflowRun

THREADS = 4  # more are of little use to so small a network


def pretrain_backbones(run: WorkflowRun, config: Config, *, only_generators: bool = False) -> None:
    """Make the drawn backbones that a configuration begins with, unless they are there.

    Raises JobFailed with the cause.
    """
    chain = run.chain(config, next(iter(run.trials)), only_generators=only_generators)
    backbones: set[BackboneConfig] = {getattr(config, stage).backbone for stage in chain.stages}
    wanted = {SyntheticWeights.of(backbone, config.image) for backbone in backbones} - {None}
    for weights in sorted(cast(set[SyntheticWeights], wanted), key=lambda weights: weights.key):
        file = weights.file(run.out / "stages")
        if file.is_file():
            continue
        with run.step(
            f"pretrain: a backbone on {weights.recipe.identities} synthetic identities of no data set"
        ) as spells:
            spells += _pretrain(run, weights, file)


def _pretrain(run: WorkflowRun, weights: SyntheticWeights, file: AnyPath) -> list[Spell]:
    """Draw the people, train the backbone; when the worker worked."""
    resources = run.config.resources
    # Beside a GPU there are the CPUs of a training run's worker; without one, take what a node has.
    cpus = resources.cpus if resources.gpus else cpus_per_worker(max(resources.cpus, THREADS))
    trainer = _start(resources, cpus)  # in the time that drawing takes
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "people"
        recipe = weights.recipe
        generate_with_progress(
            data, "regdb", recipe.identities, recipe.images, seed=SEED, console=run.console
        )
        pictures, people = read_people(data, weights.image, recipe.modalities)
    stage_run = run.mlflow_run.child(
        "stage 0 backbone", f"backbone {weights.key}", {"stage": "backbone", "key": weights.key}
    )
    with Display(run.console, resources) as display:
        task = trainer.train.remote(weights, pictures, people, file, stage_run, display.board)
        try:
            ray.get(task)
        except ray.exceptions.RayError as error:
            raise failure(error, "pretraining a backbone") from None
    stage_run.close()
    return display.spells


class _Trainer:
    """What trains a backbone, a Ray actor."""

    def __init__(self, cpus: int, device: str) -> None:
        torch.set_num_threads(cpus)
        self.worker = Worker(device=torch.device(device))

    def train(
        self,
        weights: SyntheticWeights,
        pictures: Tensor,
        people: Tensor,
        file: AnyPath,
        run: MlflowRun,
        board: ActorHandle,
    ) -> None:
        """Leave the backbone's weights in `file`."""
        for result in pretrain(weights, pictures, people, file, self.worker):
            log_epoch(run, result)
            board.post.remote(epoch_event("synthetic identities", result))


def _start(resources: ResourcesConfig, cpus: int) -> ActorHandle:
    trainer = ray.remote(num_cpus=cpus, num_gpus=resources.gpus or 0, max_restarts=2, max_task_retries=2)(
        _Trainer
    )
    return trainer.remote(cpus, "cuda" if resources.gpus else "cpu")
