"""The Dockerfile and compose.yaml agree with the project and with the documented image."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.support.deployment import (
    COMPOSE,
    COMPOSE_TEXT,
    DOCKERFILE,
    PINS,
    PROJECT,
    ROOT,
    SERVICES,
    dictionaries,
    every_overlay,
    rendered,
)


def test_ray_is_of_one_version():
    (wanted,) = (r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "ray")
    assert PINS["ray"] in wanted.specifier
    text = (ROOT / "k8s" / "base" / "raycluster.yaml").read_text()
    assert re.findall(r"rayVersion: (\S+)", text) == [PINS["ray"]]


@every_overlay
def test_every_cluster_is_of_that_version(overlay: str):
    versions = [d["rayVersion"] for d in dictionaries(rendered(overlay)) if "rayVersion" in d]
    assert versions == [PINS["ray"]] * 3  # the cluster and two jobs


def test_python_is_of_one_version():
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert f"${{TSME_BASE:-{base}}}" in COMPOSE_TEXT
    version = re.search(r"python:(\d+\.\d+)\.\d+-", base)
    assert version and version[1] in SpecifierSet(PROJECT["requires-python"])
    # The constraints were tested with the oldest supported version.
    assert PROJECT["requires-python"] == f">={version[1]}"


def stages() -> dict[str, str]:
    """Instructions of each stage, by name."""
    parts = re.split(r"^FROM (\S+) AS (\S+)$", DOCKERFILE.replace("\\\n", " "), flags=re.MULTILINE)
    triples = zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    return {name: f"FROM {base}{body}" for base, name, body in triples}


def test_stages_start_from_the_pinned_base_or_from_each_other():
    origins = {name: text.split()[1] for name, text in stages().items()}
    assert {"cpu", "cuda", "mlflow"} <= set(origins)
    assert set(origins.values()) - set(origins) == {"${BASE}"}


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_code_comes_after_torch(target: str):
    """A changed source file must not invalidate the layers that hold packages."""
    before, code, _ = stages()[target].partition("from=code")
    assert code and "--requirement /build/requirements.txt" in before
    beneath = stages()["packages"] + stages()["requirements"] + stages()["base"]
    assert not re.search(r"from=code|COPY.*(tsme|tune|workflows)\b", beneath)


@pytest.mark.parametrize("target", ["cpu", "cuda", "mlflow"])
def test_targets_end_as_a_numbered_user(target: str):
    assert re.search(r"^USER 1000:1000\s*\Z", stages()[target].strip() + "\n", re.MULTILINE)


def test_packages_are_constrained_and_no_cache_is_kept():
    text = DOCKERFILE.replace("\\\n", " ")
    installs = re.findall(r"^RUN .*pip (?:install|wheel).*$", text, re.MULTILINE)
    assert len(installs) == 7
    for line in installs:
        assert "--constraint /build/constraints.txt" in line or "--no-deps" in line
        assert "--mount=type=cache,target=/root/.cache/pip" in line or "--no-cache-dir" in line
    for line in (ROOT / "docker" / "mlflow.txt").read_text().splitlines():
        assert line.startswith("#") or "==" in line or line in PINS


def test_copied_files_exist_and_are_not_ignored():
    ignore = (ROOT / ".dockerignore").read_text().split()
    assert "*" in ignore
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for path in " ".join(copied).split():
        assert (ROOT / path).exists()
        assert f"!{path}" in ignore or f"!{path}/" in ignore


def test_the_image_is_the_command():
    assert 'ENTRYPOINT ["tsme"]' in stages()["packages"] and "tsme" in PROJECT["scripts"]


def test_compose_services_wait_for_healthy_services():
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for needed, condition in service.get("depends_on", {}).items():
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed], needed
        assert set(service.get("networks", [])) <= set(COMPOSE["networks"])
        mounted = {volume.split(":")[0] for volume in service["volumes"] if ":" in volume}
        assert mounted <= set(COMPOSE["volumes"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
    once = {"keys", "demo"}
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == once


def test_hadolint_accepts_the_dockerfile():
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not packaged for this platform")
    done = subprocess.run([hadolint, ROOT / "docker" / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("files", [["compose.yaml"], ["compose.yaml", "compose.gpu.yaml"]])
def test_docker_compose_accepts_its_files(files: list[str]):
    compose = ["docker", "compose"]
    if (
        shutil.which("docker") is None
        or subprocess.run([*compose, "version"], capture_output=True).returncode
    ):
        pytest.skip("docker compose is not installed")
    options = [f"--file={ROOT / 'docker' / file}" for file in files]
    done = subprocess.run([*compose, *options, "config", "--quiet"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_gpus_are_for_the_worker_alone():
    text = (ROOT / "docker" / "compose.gpu.yaml").read_text()
    (name,) = yaml.safe_load(text)["services"]
    assert name == "worker" and "TSME_TARGET=cuda" in text


def test_images_name_their_version():
    assert f'org.opencontainers.image.version="{PROJECT["version"]}"' in stages()["packages"]
