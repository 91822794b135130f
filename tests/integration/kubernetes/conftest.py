"""A control plane with nodes, and each overlay applied to it in turn."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.support.controlplane.build import build, find_go
from tests.support.controlplane.installation import (
    IN_NAMESPACE,
    NAMESPACE,
    cluster_name,
    install,
    persistent_volumes,
    storage_classes,
)
from tests.support.controlplane.nodes import Nodes
from tests.support.controlplane.processes import ControlPlane
from tests.support.deployment import OVERLAYS


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    if find_go() is None:
        pytest.skip("the control plane is built with Go, which is not installed")
    for tool in ("openssl", "setpriv"):
        assert shutil.which(tool), f"install {tool}"
    programs = build()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{programs / 'bin'}:{os.environ['PATH']}")
        with ControlPlane(tmp_path_factory.mktemp("plane"), programs) as plane:
            patch.setenv("KUBECONFIG", str(plane.kubeconfig()))
            plane.apply(*storage_classes())
            yield plane


@pytest.fixture(scope="session")
def nodes(plane: ControlPlane) -> Iterator[Nodes]:
    with Nodes(plane) as nodes:
        nodes.add("machine", cpus=64, memory="256Gi")
        nodes.add("machine-with-gpus", cpus=64, memory="512Gi", gpus=16)  # kueue: run and sweep
        yield nodes


@pytest.fixture(scope="session", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest, plane: ControlPlane, nodes: Nodes) -> Iterator[str]:
    """The name of an overlay that has been applied."""
    volumes = list(persistent_volumes(request.param))
    plane.apply(*volumes)
    install(request.param, plane)
    yield request.param
    plane.kubectl("delete", "namespace", NAMESPACE, "--timeout=5m")
    plane.kubectl("delete", "persistentvolume", *(volume["metadata"]["name"] for volume in volumes))


@pytest.fixture
def run_cluster(overlay: str, plane: ControlPlane) -> str:
    """The name of the RayCluster of the RayJob `tsme-run`."""
    if overlay == "kueue":  # what Kueue does when its queue has room
        change = '{"spec": {"suspend": false}}'
        plane.kubectl("patch", "rayjob", "tsme-run", IN_NAMESPACE, "--type=merge", f"--patch={change}")
    return plane.wait(lambda: cluster_name(plane, "tsme-run"), "the cluster of the run")
