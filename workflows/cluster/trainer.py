"""Ray Train's trainer. The only module that uses parts of Ray Train outside its public interface.

- `DataParallelTrainer`: the public `TorchTrainer` makes every controller import torch, which takes two
  seconds and 280 MB per worker group, and creates a process group even for a single worker.
- `backend_cls` and `on_start` of `TorchConfig`: they run before the process group is created, the last
  moment at which a worker can choose its network interface.
- `_create_default_callbacks`: two of them start a process each for every worker group, for nothing.

Tests in tests/integration/test_cluster.py and test_ray_internals.py fail if one of these changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from tsme.config import ResourcesConfig
from workflows.cluster.network import use_cluster_network
from workflows.cluster.resources import worker_resources
from workflows.cluster.session import on_shared_cluster


def build_trainer(
    train: Callable[[dict[str, Any]], None],
    arguments: dict[str, Any],
    resources: ResourcesConfig,
    run_config: ray.train.RunConfig,
) -> DataParallelTrainer:
    """A trainer whose `fit()` calls `train(arguments)` in a group of `resources.workers` workers."""
    return _Trainer(
        train,
        train_loop_config=arguments,
        backend_config=ClusterTorchConfig() if resources.workers > 1 else None,
        scaling_config=ray.train.ScalingConfig(
            num_workers=resources.workers,
            use_gpu=bool(resources.gpus),
            resources_per_worker=worker_resources(resources),
        ),
        run_config=run_config,
    )


class _Trainer(DataParallelTrainer):
    """A trainer that starts fewer processes.

    Without the one for Ray Data, which we do not use. On a local Ray also without the one that frees a
    dead controller's resources: they end with this process, and it would ask Ray's dashboard, which does
    not run there.
    """

    def _create_default_callbacks(self) -> list[Any]:
        unused: tuple[type, ...] = (DatasetsCallback,)
        if not on_shared_cluster():
            unused += (PlacementGroupCleanerCallback,)
        return [each for each in super()._create_default_callbacks() if not isinstance(each, unused)]


class _ClusterTorchBackend(ray.train.torch.TorchConfig().backend_cls):  # type: ignore[misc]
    """Ray Train's torch backend; chooses the network interface if the workers are on several nodes."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Called in the controller when the workers have started; creates their process group."""
        if len(set(worker_group.execute(ray.util.get_node_ip_address))) > 1:
            worker_group.execute(use_cluster_network)
        super().on_start(worker_group, backend_config)


class ClusterTorchConfig(ray.train.torch.TorchConfig):
    """Ray Train's configuration of torch's process group, with our backend."""

    @property
    def backend_cls(self) -> type[_ClusterTorchBackend]:
        return _ClusterTorchBackend
