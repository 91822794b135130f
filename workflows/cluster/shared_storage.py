"""Files that must be on a disk which all nodes share, where they are in no object store."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tsme.errors import UserError


def require_shared(files: Mapping[Path, str]) -> None:
    """Ask every other node for files that this one has.

    Raises UserError naming the file, both hosts, and the advice that the file is given with, if one
    does not see it. Nodes that come later are not asked.
    """
    here = ray.get_runtime_context().get_node_id()
    ask = ray.remote(num_cpus=0)(_absent)
    answers = {
        node["NodeManagerHostname"]: ask.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(list(files))
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] != here
    }
    for host, answer in answers.items():
        try:
            absent = ray.get(answer)
        except ray.exceptions.RayError:  # lost while asked: that is for those who use it to deal with
            continue
        for file in absent:
            raise UserError(
                f"{file}: {host} does not see this file of {socket.gethostname()}; {files[file]}"
            )


def _absent(files: list[Path]) -> list[Path]:
    return [file for file in files if not file.exists()]
