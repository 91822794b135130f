"""An overlay applied with the commands of docs/cluster.md, and what a cluster has before."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

from tests.support.controlplane.processes import ControlPlane
from tests.support.deployment import GUIDE, ROOT, Document

NAMESPACE = "tsme"
IN_NAMESPACE = f"--namespace={NAMESPACE}"
DEFAULT_CLASS, SHARED_CLASS = "standard", "nfs-csi"  # the gpu overlay names the second


def commands(heading: str) -> list[str]:
    """The commands below a heading of the guide."""
    _, _, section = GUIDE.partition(f"\n### {heading}\n")
    section = re.split(r"\n#+ ", section)[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    found = [line for block in blocks for line in block.splitlines()]
    assert found, heading
    return found


def three_commands(overlay: str) -> list[str]:
    """Build, apply and follow. The guide names the overlays local and gpu."""
    heading = "the demo, on kind" if overlay == "local" else "RegDB, on GPUs"
    lines = commands(f"Three commands: {heading}")[:3]
    return [re.sub(r"overlays/gpu$", f"overlays/{overlay}", line) for line in lines]


def install(overlay: str, plane: ControlPlane) -> None:
    """Apply an overlay as the guide says."""
    for line in commands("Once"):
        if not line.startswith("helm"):  # KubeRay runs already
            sh(line)
    if overlay == "s3":
        (keys,) = re.findall(r"`(kubectl -n tsme create secret generic tsme-s3 .*?)`", GUIDE)
        sh(keys.replace("…", "key"))
    plane.apply(quota())
    sh(three_commands(overlay)[1])


def sh(line: str) -> str:
    """Run a command of the guide in the repository's root; returns its output."""
    done = subprocess.run(["bash", "-euc", line], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{line}: {done.stderr}"
    return done.stdout


def cluster_name(plane: ControlPlane, job: str) -> str:
    """The RayCluster of a RayJob; empty if it has none."""
    return plane.get("rayjob", job, IN_NAMESPACE).get("status", {}).get("rayClusterName", "")


def ray_pods(plane: ControlPlane, cluster: str, group: str) -> list[Document]:
    """The pods of the head or the workers of a RayCluster."""
    selector = f"--selector=ray.io/cluster={cluster},ray.io/node-type={group}"
    return plane.items("pods", IN_NAMESPACE, selector)


def storage_classes() -> Iterator[Document]:
    """The default class, and one for shared files. Nothing provisions their volumes."""
    for name in (DEFAULT_CLASS, SHARED_CLASS):
        default = str(name == DEFAULT_CLASS).lower()
        annotations = {"storageclass.kubernetes.io/is-default-class": default}
        yield {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name, "annotations": annotations},
            "provisioner": "kubernetes.io/no-provisioner",
        }


def persistent_volumes(overlay: str) -> Iterator[Document]:
    """Three volumes of the default class, and one of the class for shared files."""
    blocks = [(f"{overlay}-block-{i}", DEFAULT_CLASS, "ReadWriteOnce") for i in range(3)]
    for name, storage_class, mode in [*blocks, (f"{overlay}-shared", SHARED_CLASS, "ReadWriteMany")]:
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "500Gi"},
                "accessModes": [mode],
                "storageClassName": storage_class,
                "hostPath": {"path": f"/nowhere/{name}"},
            },
        }


def quota() -> Document:
    """A quota of the namespace; with it, the server refuses pods without requests and limits."""
    kinds = [f"{kind}.{resource}" for kind in ("requests", "limits") for resource in ("cpu", "memory")]
    hard = {name: "1000Gi" if "memory" in name else "100" for name in kinds}
    metadata = {"name": "everything", "namespace": NAMESPACE}
    spec = {"hard": hard | {"requests.nvidia.com/gpu": "16"}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}
