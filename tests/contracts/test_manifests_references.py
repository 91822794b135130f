"""Whatever a manifest refers to exists, in the same namespace: a schema does not check that."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from tests.support.deployment import (
    GUIDE,
    OVERLAYS,
    ROOT,
    Document,
    containers,
    dictionaries,
    every_overlay,
    kustomize,
    labels,
    of_kind,
    pods,
    rendered,
    selects,
    values,
)

NAMESPACE = "tsme"
AGENT_PORT = 52365  # of Ray's agent; no manifest declares it


def selected(overlay: str, selector: Document) -> list[Document]:
    """The pods that a selector selects, at least one."""
    found = [pod for pod in pods(overlay) if selects(selector, labels(pod))]
    assert found, selector
    return found


def ports_of(pod: Document) -> dict[str, int]:
    """A pod's declared ports by name."""
    declared = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
    return {port["name"]: port["containerPort"] for port in declared}


def namespaces(documents: list[Document]) -> set[str | None]:
    """The namespaces of all documents, which are all namespaced but the Namespace itself."""
    (created,) = (d["metadata"]["name"] for d in documents if d["kind"] == "Namespace")
    others = [d for d in documents if d["kind"] != "Namespace"]
    assert len(others) > 15
    return {created} | {d["metadata"].get("namespace") for d in others}


@every_overlay
def test_everything_is_in_one_namespace(overlay: str):
    assert namespaces(rendered(overlay)) == {NAMESPACE}


@every_overlay
def test_an_overlay_on_top_may_change_the_namespace(overlay: str, tmp_path: Path):
    below = os.path.relpath(ROOT / "k8s" / "overlays" / overlay, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(f"namespace: research\nresources: [{below}]\n")
    assert namespaces(kustomize(tmp_path)) == {"research"}


def test_commands_and_policies_name_the_same_namespaces():
    named = set(re.findall(r"(?:-n|--namespace|create namespace) ([a-z-]+)", GUIDE))
    assert named == {NAMESPACE, "kuberay-system"}
    selectors = [s for overlay in OVERLAYS for s in values(rendered(overlay), "namespaceSelector")]
    assert selectors
    for selector in selectors:
        (name,) = selector["matchLabels"].values()
        assert selector == {"matchLabels": {"kubernetes.io/metadata.name": name}}
        assert name in named | {"kube-system", "openshift-dns"}


def created_secrets() -> dict[str, set[str]]:
    """Keys of each Secret that the guide's commands create."""
    literal = r" --from-literal=\S+?=(?:\"\$.*?\"|…)"
    command = rf"kubectl -n {NAMESPACE} create secret generic (\S+)((?:{literal})+)"
    found = re.findall(command, GUIDE)
    return {name: set(re.findall(r"--from-literal=(\S+?)=", keys)) for name, keys in found}


@every_overlay
def test_claims_and_secrets_exist(overlay: str):
    documents = rendered(overlay)
    claims = {d["metadata"]["name"] for d in of_kind(overlay, "PersistentVolumeClaim")}
    assert set(values(documents, "claimName")) == claims
    secrets = created_secrets()
    references = values(documents, "secretKeyRef")
    assert all(reference["key"] in secrets[reference["name"]] for reference in references)
    used = {reference["name"] for reference in references}
    assert used == ({"tsme-postgres", "tsme-s3"} if overlay == "s3" else {"tsme-postgres"})


@every_overlay
def test_nothing_else_is_referred_to(overlay: str):
    for key in ("configMap", "configMapRef", "configMapKeyRef", "secret", "secretRef"):
        assert not values(rendered(overlay), key)
    for key in ("priorityClassName", "imagePullSecrets", "runtimeClassName"):
        assert not values(rendered(overlay), key)


@every_overlay
def test_services_select_pods_that_have_their_ports(overlay: str):
    for service in of_kind(overlay, "Service"):
        spec = service["spec"]
        (pod,) = selected(overlay, {"matchLabels": spec["selector"]})
        declared = ports_of(pod)
        for port in spec["ports"]:
            assert port.get("targetPort", port["port"]) in {*declared, *declared.values()}
            assert declared[port["name"]] == port["port"]  # policies name the pods' ports
    names = {d["metadata"]["name"] for d in of_kind(overlay, "Service")}
    assert {d["spec"]["serviceName"] for d in of_kind(overlay, "StatefulSet")} <= names
    for workload in of_kind(overlay, "Deployment", "StatefulSet"):
        assert selects(workload["spec"]["selector"], labels(workload["spec"]["template"]))


@every_overlay
def test_addresses_in_variables_and_arguments_are_services(overlay: str):
    services = {
        (document["metadata"]["name"], port["port"])
        for document in of_kind(overlay, "Service")
        for port in document["spec"]["ports"]
    }
    found = set()
    for container in containers(overlay):
        words = [str(variable.get("value")) for variable in container.get("env", [])]
        words += container.get("command", []) + container.get("args", [])
        addresses = re.findall(r"\b(tsme[a-z-]*):(\d+)", " ".join(words))
        found |= {(host, int(port)) for host, port in addresses}
    assert found == services


@every_overlay
def test_probes_ask_ports_that_exist(overlay: str):
    for pod in pods(overlay):
        for probe in values(pod, "httpGet"):
            assert probe["port"] in ports_of(pod) or probe["port"] == AGENT_PORT


def local_peers(node: Any) -> list[Document]:
    """Selectors of pods in the policy's own namespace."""
    found = [mapping for mapping in dictionaries(node) if "podSelector" in mapping]
    return [mapping["podSelector"] for mapping in found if "namespaceSelector" not in mapping]


@every_overlay
def test_policies_open_ports_that_their_pods_have(overlay: str):
    for policy in of_kind(overlay, "NetworkPolicy"):
        spec = policy["spec"]
        opened = [(rule, spec["podSelector"]) for rule in spec.get("ingress", [])]
        opened += [(rule, peer) for rule in spec.get("egress", []) for peer in local_peers(rule)]
        for rule, selector in opened:
            for pod in selected(overlay, selector):
                assert {port["port"] for port in rule.get("ports", [])} <= set(ports_of(pod).values())


@every_overlay
def test_every_selector_selects_pods(overlay: str):
    for document in of_kind(overlay, "NetworkPolicy", "PodDisruptionBudget"):
        own = [document["spec"]["selector"]] if document["kind"] == "PodDisruptionBudget" else []
        for selector in own + local_peers(document):
            found = selected(overlay, selector)
            for rule in selector.get("matchExpressions", []):
                assert {labels(pod)[rule["key"]] for pod in found} == set(rule["values"])
