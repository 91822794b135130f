"""What a real control plane and KubeRay's operator make of the manifests of each overlay.

    pytest -m kubernetes

No container runs: nodes report every pod as running (tests/support/controlplane/nodes.py).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.controlplane.installation import (
    DEFAULT_CLASS,
    IN_NAMESPACE,
    NAMESPACE,
    SHARED_CLASS,
    cluster_name,
    ray_pods,
    sh,
    three_commands,
)
from tests.support.controlplane.processes import ControlPlane
from tests.support.deployment import COMPONENT, JOBS, ROOT, Document, named, of_kind, rendered

pytestmark = pytest.mark.kubernetes

GPU_NODE = "machine-with-gpus"
OVERLAY_FOLDER = ROOT / "k8s" / "overlays"


def differences(expected: Any, actual: Any, path: str = "") -> Iterator[str]:
    """Where `actual` lacks something of `expected`. It may have more keys, and more named elements."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key, value in expected.items():
            yield from differences(value, actual.get(key), f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) != len(actual):
        key = "name" if all("name" in element for element in expected) else "key"  # of tolerations
        found = {element.get(key): element for element in actual}
        for element in expected:
            yield from differences(element, found.get(element[key]), f"{path}[{element[key]}]")
    elif isinstance(expected, list) and isinstance(actual, list):
        for i, (element, other) in enumerate(zip(expected, actual, strict=True)):
            yield from differences(element, other, f"{path}[{i}]")
    elif expected != actual:
        yield f"{path}: {expected!r} is {actual!r}"


def run_spec(overlay: str) -> Document:
    """The RayJob `tsme-run` of the manifests."""
    return named(overlay, "RayJob", "tsme-run")["spec"]


def workers_of(overlay: str) -> Document:
    """Its group of workers."""
    (group,) = run_spec(overlay)["rayClusterSpec"]["workerGroupSpecs"]
    return group


def key(document: Document) -> tuple[str | None, str, str]:
    """Namespace, kind and name."""
    metadata = document["metadata"]
    return metadata.get("namespace"), document["kind"], metadata["name"]


def test_the_server_has_every_document_in_the_namespace(overlay: str, plane: ControlPlane):
    there = {key(found): found for found in plane.items("--kustomize", OVERLAY_FOLDER / overlay)}
    for document in rendered(overlay):
        found = there[key(document)]
        if document["kind"] != "RayJob":  # which these tests suspend and resume
            assert not list(differences(document.get("spec", {}), found.get("spec", {})))
    kinds = "rayjob,raycluster,pod,deployment,statefulset,networkpolicy,persistentvolumeclaim"
    assert not plane.items(kinds, "--namespace=default")


def test_only_the_run_starts(overlay: str, plane: ControlPlane):
    states = {}
    for job in JOBS:
        plane.kubectl(
            "wait", "--for=jsonpath={.status.jobDeploymentStatus}", f"rayjob/{job}", IN_NAMESPACE
        )
        states[job] = plane.get("rayjob", job, IN_NAMESPACE)["status"]["jobDeploymentStatus"]
    assert states["tsme-sweep"] == "Suspended"
    assert (states["tsme-run"] == "Suspended") == (overlay == "kueue")
    assert not cluster_name(plane, "tsme-sweep") and not ray_pods(plane, "tsme", "head")


def test_mlflow_and_its_database_start(overlay: str, plane: ControlPlane):
    for workload in ("deployment/tsme-mlflow", "statefulset/tsme-postgres"):
        plane.kubectl("rollout", "status", workload, IN_NAMESPACE, "--timeout=5m")
        service = f"--selector=kubernetes.io/service-name={workload.partition('/')[2]}"
        (endpoints,) = plane.items("endpointslices", IN_NAMESPACE, service)
        assert len(endpoints["endpoints"]) == len(endpoints["ports"]) == 1


def test_claims_are_bound(overlay: str, plane: ControlPlane):
    claims = {claim["metadata"]["name"]: claim for claim in plane.items("pvc", IN_NAMESPACE)}
    expected = {"tsme-shared", "data-tsme-postgres-0"} | ({"tsme-mlflow"} if overlay != "s3" else set())
    assert set(claims) == expected
    for name, claim in claims.items():
        plane.kubectl("wait", "--for=jsonpath={.status.phase}=Bound", f"pvc/{name}", IN_NAMESPACE)
        shared = name == "tsme-shared" and overlay != "local"
        assert claim["spec"]["storageClassName"] == (SHARED_CLASS if shared else DEFAULT_CLASS)


def test_the_last_of_the_three_commands_follows_the_run(
    overlay: str, plane: ControlPlane, run_cluster: str
):
    log = sh(three_commands(overlay)[2])  # here a container's log is its command
    address = f"--address http://{run_cluster}-head-svc.{NAMESPACE}.svc.cluster.local:8265"
    assert f"ray job submit {address}" in log and f"-- {run_spec(overlay)['entrypoint']}" in log
    assert f"ray job logs {address} --follow" in log


def test_the_head_is_that_of_the_manifests(overlay: str, plane: ControlPlane, run_cluster: str):
    (head,) = plane.wait(lambda: ray_pods(plane, run_cluster, "head"), "the head")
    check_pod(plane, head, run_spec(overlay)["rayClusterSpec"]["headGroupSpec"]["template"], run_cluster)
    command = " ".join(head["spec"]["containers"][0]["args"])
    assert "ray start --head" in command and "--num-cpus=0" in command
    services = {service["metadata"]["name"] for service in plane.items("services", IN_NAMESPACE)}
    assert f"{run_cluster}-head-svc" in services


def test_workers_are_those_of_the_manifests(overlay: str, plane: ControlPlane, run_cluster: str):
    group = workers_of(overlay)
    plane.wait(
        lambda: len(ray_pods(plane, run_cluster, "worker")) == group["replicas"],
        "the workers at the start",
    )
    for worker in ray_pods(plane, run_cluster, "worker"):
        check_pod(plane, worker, group["template"], run_cluster)
        limits = worker["spec"]["containers"][0]["resources"]["limits"]
        command = " ".join(worker["spec"]["containers"][0]["args"])
        assert f"--address={run_cluster}-head-svc.{NAMESPACE}.svc.cluster.local:6379" in command
        assert f"--num-cpus={limits['cpu']}" in command
        assert ("--num-gpus=1" in command) == ("nvidia.com/gpu" in limits) == (overlay != "local")
        assert (worker["spec"]["nodeName"] == GPU_NODE) == (overlay != "local")


def check_pod(plane: ControlPlane, pod: Document, template: Document, cluster: str) -> None:
    """A Ray node's pod has all of its template, an owner and a token; every container is bounded."""
    assert not list(differences(template, pod))
    assert pod["metadata"]["namespace"] == NAMESPACE
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("RayCluster", cluster, True)
    for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] and context["capabilities"] == {"drop": ["ALL"]}
        assert set(container["resources"]["limits"]) >= {"cpu", "memory"}
        check_token(plane, container, cluster)


def check_token(plane: ControlPlane, container: Document, cluster: str) -> None:
    """A container has the token that KubeRay has made for its cluster."""
    variables = {variable["name"]: variable for variable in container["env"]}
    assert variables["RAY_AUTH_MODE"]["value"] == "token"
    reference = variables["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
    assert reference["name"] == cluster
    secret = plane.get("secret", cluster, IN_NAMESPACE)
    assert len(base64.b64decode(secret["data"][reference["key"]])) >= 32
    assert secret["metadata"]["ownerReferences"][0]["name"] == cluster


def test_the_submitter_is_that_of_the_manifests(overlay: str, plane: ControlPlane, run_cluster: str):
    spec = run_spec(overlay)
    plane.kubectl("wait", "--for=create", "job/tsme-run", IN_NAMESPACE, "--timeout=5m")
    job = plane.get("job", "tsme-run", IN_NAMESPACE)
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("RayJob", "tsme-run")
    assert job["spec"]["backoffLimit"] == spec["submitterConfig"]["backoffLimit"]
    selector = f"--selector={COMPONENT}=ray-submitter"
    (pod,) = plane.wait(lambda: plane.items("pods", IN_NAMESPACE, selector), "the submitter's pod")
    assert not list(differences(spec["submitterPodTemplate"], pod))
    check_token(plane, pod["spec"]["containers"][0], run_cluster)


def test_the_autoscaler_has_its_rights_and_no_other(overlay: str, plane: ControlPlane, run_cluster: str):
    (head,) = plane.wait(lambda: ray_pods(plane, run_cluster, "head"), "the head")
    scaled = run_spec(overlay)["rayClusterSpec"]["enableInTreeAutoscaling"]
    names = [container["name"] for container in head["spec"]["containers"]]
    assert names == ["ray-head"] + ["autoscaler"] * scaled
    template = run_spec(overlay)["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    mounted = "serviceAccountToken" in str(head["spec"]["volumes"])
    assert mounted == template["automountServiceAccountToken"]
    account = f"--as=system:serviceaccount:{NAMESPACE}:{head['spec']['serviceAccountName']}"
    # All heads have one account; in the kueue overlay the cluster for own jobs is still autoscaled.
    granted = named(overlay, "RayCluster", "tsme")["spec"]["enableInTreeAutoscaling"]
    rights = {("patch", "rayclusters"): granted, ("list", "pods"): granted}
    for (verb, kind), allowed in (
        rights | {("get", "secrets"): False, ("create", "pods"): False}
    ).items():
        answer = plane.try_kubectl("auth", "can-i", verb, kind, IN_NAMESPACE, account)
        assert answer.stdout.strip() == ("yes" if allowed else "no"), (verb, kind)


def test_policies_name_labels_that_the_pods_have(overlay: str, plane: ControlPlane, run_cluster: str):
    """KubeRay changes labels of its own; those of the manifests must remain."""
    present = {pod["metadata"]["labels"].get(COMPONENT) for pod in plane.items("pods", IN_NAMESPACE)}
    present |= (
        {"kuberay-operator"} if workers_of(overlay)["replicas"] else {"kuberay-operator", "ray-worker"}
    )
    policies = str(list(of_kind(overlay, "NetworkPolicy")))
    assert set(re.findall(rf"'{COMPONENT}': '([\w-]+)'", policies)) <= present
