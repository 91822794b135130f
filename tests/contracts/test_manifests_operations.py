"""What a cluster's administrator checks: drains, name servers, storage, accounts, quotas."""

from __future__ import annotations

import re
import shutil
from decimal import Decimal
from pathlib import Path

import yaml

from tests.support.deployment import (
    COMPONENT,
    GUIDE,
    JOBS,
    ROOT,
    Document,
    every_overlay,
    kustomize,
    labels,
    named,
    of_kind,
    pods,
    values,
)

QUEUE = "kueue.x-k8s.io/queue-name"
UNITS = {"m": Decimal("0.001"), "Mi": Decimal(2**20), "Gi": Decimal(2**30)}


@every_overlay
def test_drains_wait_for_every_head(overlay: str):
    heads = [pod for pod in pods(overlay) if labels(pod)[COMPONENT] == "ray-head"]
    (budget,) = of_kind(overlay, "PodDisruptionBudget")
    # With at most that many pods, none may be evicted. maxUnavailable needs a scale subresource.
    assert budget["spec"]["minAvailable"] == len(heads) == 1 + len(JOBS)
    assert "maxUnavailable" not in budget["spec"]
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    for head in heads:
        assert head["metadata"]["annotations"] == {
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            "karpenter.sh/do-not-disrupt": "true",
        }


@every_overlay
def test_every_pod_reaches_name_servers(overlay: str):
    policy = named(overlay, "NetworkPolicy", "names")["spec"]
    assert policy["podSelector"] == {}
    allowed = {
        (str(peer), port["port"], port["protocol"])
        for rule in policy["egress"]
        for peer in rule["to"]
        for port in rule["ports"]
    }
    cluster, openshift = (
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
        for name in ("kube-system", "openshift-dns")
    )
    node_cache = {"ipBlock": {"cidr": "169.254.20.10/32"}}
    servers = [(cluster, 53), (node_cache, 53), (openshift, 5353)]
    assert allowed == {(str(peer), port, p) for peer, port in servers for p in ("TCP", "UDP")}


@every_overlay
def test_only_the_shared_volume_names_a_storage_class(overlay: str):
    claims = [
        *of_kind(overlay, "PersistentVolumeClaim"),
        *(c for s in of_kind(overlay, "StatefulSet") for c in s["spec"]["volumeClaimTemplates"]),
    ]
    for claim in claims:
        shared = claim["metadata"]["name"] == "tsme-shared"
        assert ("storageClassName" in claim["spec"]) == (shared and overlay != "local")
        many = shared and overlay != "local"
        assert claim["spec"]["accessModes"] == (["ReadWriteMany"] if many else ["ReadWriteOnce"])


@every_overlay
def test_every_pod_has_an_account_without_rights(overlay: str):
    accounts = {d["metadata"]["name"]: d for d in of_kind(overlay, "ServiceAccount")}
    assert {pod["spec"]["serviceAccountName"] for pod in pods(overlay)} == set(accounts)
    assert not any(account["automountServiceAccountToken"] for account in accounts.values())
    assert not list(of_kind(overlay, "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"))


def amount(quantity: str | int) -> Decimal:
    """A Kubernetes quantity as a number."""
    number, unit = re.fullmatch(r"([\d.]+)(\D*)", str(quantity)).groups()
    return Decimal(number) * (UNITS[unit] if unit else 1)


def requests(pod: Document, resource: str) -> Decimal:
    return sum(amount(c["resources"]["requests"].get(resource, 0)) for c in pod["spec"]["containers"])


def test_the_sample_quota_has_room_for_the_run_and_no_more():
    """Kueue admits a RayJob when its head, all workers and the submitter fit."""
    documents = list(yaml.safe_load_all((ROOT / "k8s/overlays/kueue/queues.yaml").read_text()))
    flavor, cluster_queue, queue = documents
    job = named("kueue", "RayJob", "tsme-run")
    assert job["metadata"]["labels"][QUEUE] == queue["metadata"]["name"]
    assert job["metadata"]["namespace"] == queue["metadata"]["namespace"]
    assert queue["spec"]["clusterQueue"] == cluster_queue["metadata"]["name"]
    (selected,) = cluster_queue["spec"]["namespaceSelector"]["matchLabels"].values()
    assert selected == queue["metadata"]["namespace"]
    (group,) = cluster_queue["spec"]["resourceGroups"]
    (quotas,) = group["flavors"]
    assert quotas["name"] == flavor["metadata"]["name"]
    assert [quota["name"] for quota in quotas["resources"]] == group["coveredResources"]
    for quota in quotas["resources"]:
        needed = needed_by(job, quota["name"])
        one_more = amount({"cpu": 1, "memory": "1Gi", "nvidia.com/gpu": 1}[quota["name"]])
        assert needed <= amount(quota["nominalQuota"]) < needed + one_more, quota["name"]


def needed_by(job: Document, resource: str) -> Decimal:
    """What a RayJob's pods request of a resource."""
    cluster = job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    single = (cluster["headGroupSpec"]["template"], job["spec"]["submitterPodTemplate"])
    total = workers["replicas"] * requests(workers["template"], resource)
    return total + sum(requests(pod, resource) for pod in single)


def test_the_overlay_of_the_guide_does_what_it_says(tmp_path: Path):
    (text,) = re.findall(r"```yaml\n# kustomization.yaml in the new folder\n(.*?)```", GUIDE, re.DOTALL)
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    folder = tmp_path / "k8s/overlays/mine"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(text)
    documents = {f"{d['kind']}/{d['metadata']['name']}": d for d in kustomize(folder)}
    accounts = {name: d for name, d in documents.items() if d["kind"] == "ServiceAccount"}
    assert all(account["imagePullSecrets"] == [{"name": "registry"}] for account in accounts.values())
    roles = {name for name, account in accounts.items() if "annotations" in account["metadata"]}
    assert roles == {"ServiceAccount/tsme", "ServiceAccount/tsme-mlflow"}
    for job in JOBS:
        assert len(values(documents[f"RayJob/{job}"]["spec"]["rayClusterSpec"], "priorityClassName")) == 2
    (server,) = documents["Deployment/tsme-mlflow"]["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"] for variable in server["env"]}
    assert {"MLFLOW_ARTIFACTS_DESTINATION", "AWS_DEFAULT_REGION"} < variables
    assert not {name for name in variables if "ACCESS_KEY" in name}
