"""Network policies allow the connections that the pods need, and no others."""

from __future__ import annotations

from tests.support.deployment import (
    COMPONENT,
    Document,
    every_overlay,
    labels,
    named,
    of_kind,
    pods,
    selects,
)


def permits(rules: list[Document], side: str, other: dict[str, str], port: int) -> bool:
    """Whether any rule allows another pod of the namespace at this port."""
    for rule in rules:
        ports = {p["port"] for p in rule.get("ports", [])}
        peers = [p for p in rule.get(side, []) if "podSelector" in p and "namespaceSelector" not in p]
        anyone = side not in rule or any(selects(p["podSelector"], other) for p in peers)
        if anyone and (not ports or port in ports):
            return True
    return False


def reaches(overlay: str, source: dict[str, str], target: dict[str, str], port: int) -> bool:
    """Whether the policies let a pod open a connection: its egress and the other's ingress."""
    policies = [policy["spec"] for policy in of_kind(overlay, "NetworkPolicy")]
    out = [r for p in policies if selects(p["podSelector"], source) for r in p.get("egress", [])]
    into = [r for p in policies if selects(p["podSelector"], target) for r in p.get("ingress", [])]
    return permits(out, "to", target, port) and permits(into, "from", source, port)


PORTS = {
    ("ray-head", 8265): {"ray-head", "ray-worker", "ray-submitter"},
    ("ray-head", 6379): {"ray-head", "ray-worker"},
    ("ray-worker", 10002): {"ray-head", "ray-worker"},
    ("mlflow", 5000): {"ray-head", "ray-worker"},
    ("postgres", 5432): {"mlflow"},
    ("ray-submitter", 8265): set(),
}


@every_overlay
def test_ports_are_open_to_those_who_need_them(overlay: str):
    deny = named(overlay, "NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    all_pods = {labels(pod)[COMPONENT]: labels(pod) for pod in pods(overlay)}
    assert set(all_pods) == {target for target, _ in PORTS}
    stranger = {COMPONENT: "stranger"}
    for (target, port), expected in PORTS.items():
        found = {
            name
            for name, source in (all_pods | {"stranger": stranger}).items()
            if reaches(overlay, source, all_pods[target], port)
        }
        assert found == expected, (target, port)
