"""Check that all nodes see the files which must lie on shared storage."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tsme.errors import UserError


def require_shared(files: Mapping[Path, str]) -> None:
    """Check on every other living node that it sees these files. Values: how to fix a missing one.

    Raises UserError with the file, both host names and the fix. Nodes that join later are not checked.
    """
    own_node = ray.get_runtime_context().get_node_id()
    find_missing = ray.remote(num_cpus=0)(_missing)
    results = {
        node["NodeManagerHostname"]: find_missing.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(list(files))
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] != own_node
    }
    for host, result in results.items():
        try:
            missing = ray.get(result)
        except ray.exceptions.RayError:  # the node was lost meanwhile; training handles lost nodes
            continue
        for file in missing:
            raise UserError(
                f"{file}: {host} does not see this file of {socket.gethostname()}; {files[file]}"
            )


def _missing(files: list[Path]) -> list[Path]:
    return [file for file in files if not file.exists()]
