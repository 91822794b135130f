"""What a real control plane does when a run is suspended, resumed, repeated, drained or deleted."""

from __future__ import annotations

import json

import pytest

from tests.support.controlplane.installation import (
    IN_NAMESPACE,
    NAMESPACE,
    cluster_name,
    commands,
    ray_pods,
    sh,
)
from tests.support.controlplane.nodes import Nodes, path
from tests.support.controlplane.processes import ControlPlane
from tests.support.deployment import COMPONENT, ROOT, named

pytestmark = pytest.mark.kubernetes


def suspend(plane: ControlPlane, name: str, suspended: bool) -> None:
    """The guide's command, for any RayJob or RayCluster (kind/name)."""
    change = json.dumps({"spec": {"suspend": suspended}})
    plane.kubectl("patch", name, IN_NAMESPACE, "--type=merge", f"--patch={change}")


def run_status(plane: ControlPlane) -> dict:
    return plane.get("rayjob", "tsme-run", IN_NAMESPACE)["status"]


def submitters(plane: ControlPlane) -> list[dict]:
    return plane.items("pods", IN_NAMESPACE, f"--selector={COMPONENT}=ray-submitter")


def test_pod_security_and_the_quota_are_enforced(overlay: str, plane: ControlPlane, run_cluster: str):
    """The same server refuses a pod that the policy or the quota does not allow."""
    run = ("run", "other", "--image=other", IN_NAMESPACE, "--dry-run=server")
    refused = plane.try_kubectl(*run).stderr
    assert 'violates PodSecurity "restricted' in refused
    security = {
        "runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"},
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    pod = {"spec": {"containers": [{"name": "other", "image": "other", "securityContext": security}]}}
    pod["spec"]["securityContext"] = {}
    refused = plane.try_kubectl(
        *run, f"--overrides={json.dumps(pod)}", "--override-type=strategic"
    ).stderr
    assert "must specify limits.cpu" in refused
    used = plane.get("resourcequota", "everything", IN_NAMESPACE)["status"]["used"]
    assert used["requests.nvidia.com/gpu"] == ("5" if overlay == "kueue" else "0")


def test_a_head_is_not_evicted(overlay: str, plane: ControlPlane, run_cluster: str):
    (head,) = plane.wait(lambda: ray_pods(plane, run_cluster, "head"), "the head")
    budget = plane.wait(
        lambda: (
            (b := plane.get("pdb", "tsme-ray-head", IN_NAMESPACE))["status"].get("currentHealthy") and b
        ),
        "the controller of budgets",
    )
    assert budget["status"]["disruptionsAllowed"] == 0 and budget["status"]["desiredHealthy"] == 3
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": head["metadata"]["name"]},
    }
    answer = plane.api.post(f"{plane.address}{path(head)}/eviction", json=eviction, timeout=30)
    assert answer.status_code == 429 and "disruption budget" in answer.text


def test_the_autoscaler_adds_workers_with_gpus(overlay: str, plane: ControlPlane, run_cluster: str):
    """As Ray's autoscaler does: it patches the number of replicas, with the head's account."""
    if overlay not in ("gpu", "s3"):
        pytest.skip("not autoscaled")
    account = f"--as=system:serviceaccount:{NAMESPACE}:tsme"
    more = json.dumps([{"op": "replace", "path": "/spec/workerGroupSpecs/0/replicas", "value": 2}])
    plane.kubectl(
        "patch", "raycluster", run_cluster, IN_NAMESPACE, account, "--type=json", f"--patch={more}"
    )
    workers = plane.wait(
        lambda: len(found := ray_pods(plane, run_cluster, "worker")) == 2 and found, "two workers"
    )
    for worker in workers:
        plane.kubectl("wait", "--for=condition=Ready", f"pod/{worker['metadata']['name']}", IN_NAMESPACE)
    assert {w["spec"]["nodeName"] for w in ray_pods(plane, run_cluster, "worker")} == {
        "machine-with-gpus"
    }
    used = plane.get("resourcequota", "everything", IN_NAMESPACE)["status"]["used"]
    assert used["requests.nvidia.com/gpu"] == "2"


def test_a_failed_run_is_submitted_again_on_a_new_cluster(
    overlay: str, plane: ControlPlane, nodes: Nodes, run_cluster: str
):
    if overlay != "local":
        pytest.skip("the same job in every overlay")
    ended: set[str] = set()
    attempts = 1 + named(overlay, "RayJob", "tsme-run")["spec"]["submitterConfig"]["backoffLimit"]
    for _ in range(attempts):  # the controller of jobs waits 10 s, then 20 s
        pod = plane.wait(
            lambda: next(
                (
                    p
                    for p in submitters(plane)
                    if p["metadata"]["name"] not in ended and p["status"]["phase"] == "Running"
                ),
                None,
            ),
            "a submitter",
        )
        nodes.finish(pod, exit_code=1)
        ended.add(pod["metadata"]["name"])
    plane.wait(lambda: cluster_name(plane, "tsme-run") not in ("", run_cluster), "a new cluster")
    assert run_status(plane)["failed"] == 1
    plane.wait(lambda: not ray_pods(plane, run_cluster, "head"), "the end of the first cluster")


def test_a_suspended_run_frees_everything_and_starts_again(
    overlay: str, plane: ControlPlane, run_cluster: str
):
    suspend(plane, "rayjob/tsme-run", True)
    plane.wait(lambda: run_status(plane)["jobDeploymentStatus"] == "Suspended", "the suspension")
    plane.wait(
        lambda: not ray_pods(plane, run_cluster, "head") + submitters(plane), "the end of its pods"
    )
    assert not plane.items("rayclusters", IN_NAMESPACE, "--selector=ray.io/originated-from-crd=RayJob")
    suspend(plane, "rayjob/tsme-run", False)
    plane.wait(lambda: run_status(plane)["jobDeploymentStatus"] == "Running", "the second start")
    assert cluster_name(plane, "tsme-run") != run_cluster


def test_the_sweep_is_resumed(overlay: str, plane: ControlPlane):
    suspend(plane, "rayjob/tsme-sweep", False)
    plane.kubectl("wait", "--for=create", "job/tsme-sweep", IN_NAMESPACE, "--timeout=5m")
    (head,) = ray_pods(plane, cluster_name(plane, "tsme-sweep"), "head")
    assert head["metadata"]["namespace"] == NAMESPACE


def test_the_cluster_for_own_jobs_starts_as_the_guide_says(overlay: str, plane: ControlPlane):
    lines = commands("Your own jobs")
    start = [line for line in lines if "port-forward" not in line and "ray job submit" not in line]
    *start, token = start
    sh("\n".join(start))
    assert ray_pods(plane, "tsme", "head")[0]["status"]["phase"] == "Running"
    assert plane.get("service", "tsme-head-svc", IN_NAMESPACE)
    assert len(sh(f'{token}\necho "$RAY_AUTH_TOKEN"').strip()) >= 32
    suspend(plane, "raycluster/tsme", True)
    plane.wait(lambda: not ray_pods(plane, "tsme", "head"), "the end of the head")


def test_applying_again_names_what_was_patched(overlay: str, plane: ControlPlane):
    folder = ROOT / "k8s" / "overlays" / overlay
    command = ("apply", "--server-side", "-k", folder)
    refused = plane.try_kubectl(*command)
    assert refused.returncode != 0 and ".spec.suspend" in refused.stderr
    plane.kubectl(*command, "--force-conflicts")
    assert plane.get("rayjob", "tsme-sweep", IN_NAMESPACE)["spec"]["suspend"]


def test_deleting_the_run_leaves_the_files(overlay: str, plane: ControlPlane):
    plane.kubectl("delete", "rayjob", "tsme-run", IN_NAMESPACE, "--timeout=5m")
    plane.wait(
        lambda: not plane.items("pods", IN_NAMESPACE, "--selector=ray.io/is-ray-node=yes"),
        "the end of all Ray nodes",
    )
    plane.wait(lambda: not plane.items("jobs,rayclusters", IN_NAMESPACE)[1:], "the end of what it made")
    claims = plane.items("persistentvolumeclaims", IN_NAMESPACE)
    assert {claim["status"]["phase"] for claim in claims} == {"Bound"}
    assert plane.try_kubectl("get", "deployment/tsme-mlflow", IN_NAMESPACE).returncode == 0
