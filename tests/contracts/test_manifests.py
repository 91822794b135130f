"""Manifests: images, secrets, pods, and requirements of KubeRay's operator that no schema has."""

from __future__ import annotations

import re
from copy import deepcopy

import pytest

from tests.support.deployment import (
    COMPONENT,
    JOBS,
    ROOT,
    SERVICES,
    containers,
    dictionaries,
    every_overlay,
    labels,
    named,
    of_kind,
    pods,
    rendered,
    variables,
)


@every_overlay
def test_images_are_parameters(overlay: str):
    for file in (f for part in ("base", "components") for f in (ROOT / "k8s" / part).rglob("*.yaml")):
        for image in re.findall(r"^\s*(?:- )?image: *(\S+)", file.read_text(), re.MULTILINE):
            assert image in {"tsme", "tsme-mlflow", "postgres"}, file
    for container in containers(overlay):
        if container["name"] != "autoscaler":  # KubeRay gives it the head's image
            name, _, tag = container["image"].rpartition(":")
            assert "/" in name and tag not in {"", "latest"}, container["image"]
        assert container["imagePullPolicy"] == "IfNotPresent"


def test_images_of_compose_are_parameters():
    for service in SERVICES.values():
        assert "${TSME_" in service["image"]
        assert not service["image"].endswith("latest}")


@every_overlay
def test_secrets_are_referenced(overlay: str):
    assert not list(of_kind(overlay, "Secret"))
    for name, variable in variables(overlay).items():
        if re.search("PASSWORD|TOKEN|SECRET|KEY", name):
            assert "secretKeyRef" in variable["valueFrom"], name


def test_nothing_here_looks_like_a_secret():
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET|KEY", name):
                assert name.endswith(("_FILE", "_PATH")) and value.startswith("/keys/"), name
    files = [p for d in ("docker", "k8s", "docs") for p in (ROOT / d).rglob("*") if p.is_file()]
    assert len(files) > 15
    for file in files:
        text = file.read_text(errors="replace")  # pictures too
        found = re.search(r"[0-9a-f]{32}|[A-Za-z0-9+/]{40}=|://[^/\s@]+:[^/\s@]+@", text)
        assert not found, file


@every_overlay
def test_every_container_is_bounded_and_locked_down(overlay: str):
    for container in containers(overlay):
        resources = container["resources"]
        for kind in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(resources[kind]), container["name"]
        gpus = {key: value for key, value in resources["limits"].items() if key.endswith("gpu")}
        assert gpus == {key: v for key, v in resources["requests"].items() if key.endswith("gpu")}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }


@every_overlay
def test_every_pod_is_a_user_and_brings_its_volumes(overlay: str):
    claims = {d["metadata"]["name"] for d in of_kind(overlay, "PersistentVolumeClaim")}
    for pod in pods(overlay):
        spec = pod["spec"]
        context = spec["securityContext"]
        assert context["runAsNonRoot"] and context["runAsUser"] >= 999
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not spec["enableServiceLinks"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        if labels(pod)[COMPONENT] == "postgres":
            volumes["data"] = {}  # the StatefulSet's template makes it
        mounted = {mount["name"] for c in spec["containers"] for mount in c["volumeMounts"]}
        assert mounted == set(volumes)
        wanted = [v["persistentVolumeClaim"] for v in volumes.values() if "persistentVolumeClaim" in v]
        assert {claim["claimName"] for claim in wanted} <= claims


@every_overlay
def test_only_an_autoscaler_may_ask_the_api_server(overlay: str):
    scaled = named(overlay, "RayCluster", "tsme")["spec"]["enableInTreeAutoscaling"]
    for pod in pods(overlay):
        allowed = pod["spec"]["automountServiceAccountToken"]
        assert not allowed or (scaled and labels(pod)[COMPONENT] == "ray-head")


@every_overlay
def test_every_server_is_probed(overlay: str):
    for pod in pods(overlay):
        for container in pod["spec"]["containers"]:
            kinds = {"startupProbe", "readinessProbe", "livenessProbe"} & set(container)
            # A submitter is done when its job is.
            assert len(kinds) == (0 if labels(pod)[COMPONENT] == "ray-submitter" else 3), container[
                "name"
            ]
            questions = [str(container[k].get("httpGet") or container[k]["exec"]) for k in kinds]
            assert len(set(questions)) <= 1  # of which the image test asks one


QUEUE = "kueue.x-k8s.io/queue-name"


@every_overlay
def test_jobs_clean_up_after_themselves_and_can_wait(overlay: str):
    for name in JOBS:
        spec = named(overlay, "RayJob", name)["spec"]
        assert spec["shutdownAfterJobFinishes"]  # also what lets `suspend` be set
        assert spec["ttlSecondsAfterFinished"] > 0
        assert 0 < spec["preRunningDeadlineSeconds"] < spec["activeDeadlineSeconds"]
        assert "deletionStrategy" not in spec and "clusterSelector" not in spec
        assert spec["submitterPodTemplate"]["spec"]["restartPolicy"] == "Never"
        # Another try continues; the demo always does.
        assert re.search("--resume|tsme demo", spec["entrypoint"])
    assert named(overlay, "RayJob", "tsme-sweep")["spec"]["suspend"]
    queued = [job for job in JOBS if QUEUE in named(overlay, "RayJob", job)["metadata"]["labels"]]
    assert queued == (["tsme-run"] if overlay == "kueue" else [])  # what Kueue queues, Kueue wakes
    assert named(overlay, "RayJob", "tsme-run")["spec"].get("suspend", False) == (overlay == "kueue")
    assert named(overlay, "RayCluster", "tsme")["spec"]["suspend"]


@every_overlay
@pytest.mark.parametrize("job", JOBS)
def test_jobs_run_on_the_nodes_of_the_cluster(overlay: str, job: str):
    cluster = named(overlay, "RayCluster", "tsme")["spec"] | {}
    theirs = named(overlay, "RayJob", job)["spec"]["rayClusterSpec"]
    assert theirs["authOptions"] == {"mode": "token"}
    if overlay == "kueue":  # the same pods, but no more and no fewer than at the start
        assert not theirs["enableInTreeAutoscaling"]
        (group,) = theirs["workerGroupSpecs"]
        assert group["minReplicas"] == group["replicas"] == group["maxReplicas"]
        keys = "minReplicas", "maxReplicas", "replicas"
        bounds = {key: cluster["workerGroupSpecs"][0][key] for key in keys}
        theirs = theirs | {"enableInTreeAutoscaling": True, "workerGroupSpecs": [group | bounds]}
        head = deepcopy(theirs["headGroupSpec"])
        assert not head["template"]["spec"]["automountServiceAccountToken"]  # for the autoscaler
        head["template"]["spec"]["automountServiceAccountToken"] = True
        theirs["headGroupSpec"] = head
    del cluster["suspend"]
    assert theirs == cluster


@every_overlay
def test_ray_keeps_its_logs_and_memory_fits(overlay: str):
    for group in (d for d in dictionaries(rendered(overlay)) if "rayStartParams" in d):
        pod = group["template"]["spec"]
        container = pod["containers"][0]
        assert "/shared/logs" in container["lifecycle"]["preStop"]["exec"]["command"][-1]
        shared_memory = next(v["emptyDir"] for v in pod["volumes"] if v["name"] == "dshm")
        assert shared_memory == {"medium": "Memory", "sizeLimit": "1Gi"}
        assert int(group["rayStartParams"]["object-store-memory"]) < 2**30
        assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]
        writable = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert writable == {"/shared", "/tmp", "/home/tsme", "/dev/shm"}
