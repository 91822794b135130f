"""docker/ and k8s/ as tests read them.

Overlays are rendered with `kubectl kustomize`. Without kubectl those tests are skipped, except in CI,
where that is a failure. The schemas of Kubernetes and KubeRay are not checked here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
COMPOSE_TEXT = (ROOT / "docker" / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
GUIDE = (ROOT / "docs" / "cluster.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
)
OVERLAYS = sorted(path.name for path in (ROOT / "k8s" / "overlays").iterdir())
JOBS = ("tsme-run", "tsme-sweep")
COMPONENT = "app.kubernetes.io/component"
Document = dict[str, Any]


@cache
def rendered(overlay: str) -> list[Document]:
    """The documents that `kubectl apply -k` would send for an overlay."""
    return kustomize(ROOT / "k8s" / "overlays" / overlay)


def kustomize(folder: Path) -> list[Document]:
    """The documents that `kubectl apply -k` would send for a folder."""
    if shutil.which("kubectl") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("kubectl is not installed")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(overlay: str, *kinds: str) -> Iterator[Document]:
    return (document for document in rendered(overlay) if document["kind"] in kinds)


def named(overlay: str, kind: str, name: str) -> Document:
    (found,) = (d for d in of_kind(overlay, kind) if d["metadata"]["name"] == name)
    return found


def dictionaries(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping at any depth."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from dictionaries(child)


def values(node: Any, key: str) -> list[Any]:
    """The values of a key at any depth."""
    return [mapping[key] for mapping in dictionaries(node) if key in mapping]


def pods(overlay: str) -> list[Document]:
    """Every pod template."""
    found = [d for d in dictionaries(rendered(overlay)) if "containers" in d.get("spec", {})]
    assert found
    return found


def labels(pod: Document) -> dict[str, str]:
    return pod["metadata"]["labels"]


def selects(selector: Document, its: dict[str, str]) -> bool:
    """Whether a label selector picks a pod with these labels."""
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In"
        if its.get(rule["key"]) not in rule["values"]:
            return False
    return all(its.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def containers(overlay: str) -> Iterator[Document]:
    """Every container, also the autoscaler's, which KubeRay adds to the head."""
    for pod in pods(overlay):
        yield from pod["spec"]["containers"]
    for document in dictionaries(rendered(overlay)):
        if "autoscalerOptions" in document:
            yield {"name": "autoscaler"} | document["autoscalerOptions"]


def variables(overlay: str) -> dict[str, Document]:
    """Every environment variable of every container."""
    return {v["name"]: v for c in containers(overlay) for v in c.get("env", [])}


every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)
