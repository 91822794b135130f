"""First of all: trunks that learn from drawn people, where the configuration asks for them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import cast

import ray
import torch
from ray.actor import ActorHandle
from torch import Tensor

from tsme.config import Backbone, Config, Resources
from tsme.errors import failure
from tsme.storage.object_store import AnyPath
from tsme.training.distributed import Worker
from tsme.training.pretrain import SEED, DrawnTrunk, pretrain, read_people
from workflows.cli.data import draw_people
from workflows.cluster.session import cpus_of_a_worker
from workflows.progress import Display
from workflows.run import Workflow
from workflows.spells import Spell
from workflows.tracking.epochs import describe, log_epoch
from workflows.tracking.runs import Run

THREADS = 4  # more are of little use to so small a network


def pretrain_trunks(flow: Workflow, config: Config, *, only_translators: bool = False) -> None:
    """Make the drawn trunks that a configuration begins with, unless they are there.

    Raises JobFailed with the cause.
    """
    chain = flow.chain(config, next(iter(flow.trials)), only_translators=only_translators)
    backbones: set[Backbone] = {getattr(config, stage).backbone for stage in chain.stages}
    trunks = {DrawnTrunk.of(backbone, config.image) for backbone in backbones} - {None}
    for trunk in sorted(cast(set[DrawnTrunk], trunks), key=lambda trunk: trunk.key):
        file = trunk.file(flow.out / "stages")
        if file.is_file():
            continue
        with flow.step(
            f"pretrain: a trunk on {trunk.recipe.people} drawn people of no data set"
        ) as spells:
            spells += _pretrain(flow, trunk, file)


def _pretrain(flow: Workflow, trunk: DrawnTrunk, file: AnyPath) -> list[Spell]:
    """Draw the people, train the trunk; when the worker worked."""
    resources = flow.config.resources
    # Beside a GPU there are the CPUs of a training run's worker; without one, take what a node has.
    cpus = resources.cpus if resources.gpus else cpus_of_a_worker(max(resources.cpus, THREADS))
    trainer = _start(resources, cpus)  # in the time that drawing takes
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "people"
        recipe = trunk.recipe
        draw_people(data, "regdb", recipe.people, recipe.images, SEED, flow.console)
        pictures, people = read_people(data, trunk.image, recipe.modalities)
    run = flow.run.child("stage 0 trunk", f"trunk {trunk.key}", {"stage": "trunk", "key": trunk.key})
    with Display(flow.console, resources) as display:
        task = trainer.train.remote(trunk, pictures, people, file, run, display.board)
        try:
            ray.get(task)
        except ray.exceptions.RayError as error:
            raise failure(error, "pretraining a trunk") from None
    run.close()
    return display.spells


class _Trainer:
    """What trains a trunk, a Ray actor."""

    def __init__(self, cpus: int, device: str) -> None:
        torch.set_num_threads(cpus)
        self.worker = Worker(device=torch.device(device))

    def train(
        self,
        trunk: DrawnTrunk,
        pictures: Tensor,
        people: Tensor,
        file: AnyPath,
        run: Run,
        board: ActorHandle,
    ) -> None:
        """Leave the trunk's weights in `file`."""
        for result in pretrain(trunk, pictures, people, file, self.worker):
            log_epoch(run, result)
            board.post.remote(describe("drawn people", result))


def _start(resources: Resources, cpus: int) -> ActorHandle:
    trainer = ray.remote(num_cpus=cpus, num_gpus=resources.gpus or 0, max_restarts=2, max_task_retries=2)(
        _Trainer
    )
    return trainer.remote(cpus, "cuda" if resources.gpus else "cpu")
