"""docker/ and k8s/ agree with the code, with each other and with what their readers check too late.

Overlays are rendered with `kubectl kustomize`. Without kubectl those tests are skipped, except in CI,
where that is a failure. The schemas of Kubernetes and KubeRay are not checked here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tsme.config import override, parse_settings
from tsme.presets import preset
from workflows.cli import app

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
    """What `kubectl apply -k` would send."""
    if shutil.which("kubectl") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("kubectl is not installed")
    command = ["kubectl", "kustomize", str(ROOT / "k8s" / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True)
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


def pods(overlay: str) -> list[Document]:
    """Every pod template."""
    found = [d for d in dictionaries(rendered(overlay)) if "containers" in d.get("spec", {})]
    assert found
    return found


def labels(pod: Document) -> dict[str, str]:
    return pod["metadata"]["labels"]


def containers(overlay: str) -> Iterator[Document]:
    """Every container, also the autoscaler's, which KubeRay adds to the head."""
    for pod in pods(overlay):
        yield from pod["spec"]["containers"]
    for document in dictionaries(rendered(overlay)):
        if "autoscalerOptions" in document:
            yield {"name": "autoscaler"} | document["autoscalerOptions"]


every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


# Versions


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
    # The constraints were tried with the oldest one allowed.
    assert PROJECT["requires-python"] == f">={version[1]}"


# The Dockerfile


def stages() -> dict[str, str]:
    """Instructions of each stage, by name."""
    parts = re.split(r"^FROM (\S+) AS (\S+)$", DOCKERFILE.replace("\\\n", " "), flags=re.MULTILINE)
    triples = zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    return {name: f"FROM {origin}{body}" for origin, name, body in triples}


def test_stages_start_from_the_pinned_base_or_from_each_other():
    origins = {name: text.split()[1] for name, text in stages().items()}
    assert {"cpu", "cuda", "mlflow"} <= set(origins)
    assert set(origins.values()) - set(origins) == {"${BASE}"}


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_code_comes_after_torch(target: str):
    """A changed file of ours may not reach the layers that hold packages."""
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


def test_what_is_copied_is_there_and_let_through():
    ignore = (ROOT / ".dockerignore").read_text().split()
    assert "*" in ignore
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for path in " ".join(copied).split():
        assert (ROOT / path).exists()
        assert f"!{path}" in ignore or f"!{path}/" in ignore


def test_the_image_is_the_command():
    assert 'ENTRYPOINT ["tsme"]' in stages()["packages"] and "tsme" in PROJECT["scripts"]


# Commands


def parsed(command: Any, words: list[str], parent: Any = None) -> dict[str, Any]:
    """The options of a command line, as click reads it; raises for what it would refuse."""
    context = command.make_context(command.name, list(words), parent=parent)
    rest = [*getattr(context, "_protected_args", []), *context.args]
    if hasattr(command, "resolve_command"):
        _, chosen, rest = command.resolve_command(context, rest)
        return parsed(chosen, rest, context)
    return context.params


def check_entrypoint(entrypoint: list[str]) -> None:
    """It is a `tsme` command that our command line understands, in a job's working folder."""
    assert entrypoint[0] == "tsme" or entrypoint[:3] == ["python", "-m", "workflows"], entrypoint
    from typer.main import get_command

    options = parsed(get_command(app), entrypoint[1 if entrypoint[0] == "tsme" else 3 :])
    assert Path(options["out"]).is_absolute() and Path(options.get("data", "/")).is_absolute()
    if "preset" in options:
        override(preset(options["preset"]), parse_settings(options["set_"]))


@every_overlay
@pytest.mark.parametrize("job", JOBS)
def test_job_entrypoints_are_commands_of_ours(overlay: str, job: str):
    entrypoint = named(overlay, "RayJob", job)["spec"]["entrypoint"]
    # KubeRay writes it into a shell script as it is.
    assert not set(entrypoint) & set(";&|<>$`\"'\\\n*?")
    check_entrypoint(entrypoint.split())


def test_compose_submits_a_command_of_ours():
    service = SERVICES["demo"]
    submit, _, entrypoint = shlex.join([*service["entrypoint"], *service["command"]]).partition(" -- ")
    assert submit == "ray job submit --address http://head:8265"
    check_entrypoint(shlex.split(entrypoint))


def test_a_wrong_entrypoint_is_noticed():
    for wrong in ("tsme runs", "tsme run --preset regdb --data /d", "tsme demo --output /o",
                  "tsme run --preset regdb --data /d --out /o --set resources.gpu=1"):  # fmt: skip
        with pytest.raises(Exception):  # noqa: B017 - click's are not public in typer
            check_entrypoint(wrong.split())


def guide_blocks() -> str:
    """The guide's commands, one a line."""
    return "\n".join(re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)).replace("\\\n", " ")


def test_commands_of_the_guide_are_commands_of_ours():
    """Those a job runs, and those a container is given."""
    from typer.main import get_command

    found = re.findall(r"^.*(?: -- tsme | tsme:c\w+ )(.*)$", guide_blocks(), re.MULTILINE)
    found = [line for line in found if not line.lstrip().startswith(("ui", "."))]
    assert len(found) == 5
    for line in found:
        parsed(get_command(app), shlex.split(line))


def test_the_guide_names_what_there_is():
    for path in set(re.findall(r"\b(?:k8s|docker)/[\w./-]*\w", GUIDE)):
        assert (ROOT / path).exists(), path
    assert set(re.findall(r"overlays/(\w+)", GUIDE)) == set(OVERLAYS)


def flags(parameters: dict[str, str]) -> list[str]:
    return [f"--{key}={value}" for key, value in parameters.items()]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ray_and_mlflow_know_their_options():
    """`ray start` of compose and of the manifests, `mlflow server` of both."""
    from mlflow.cli import cli as mlflow
    from ray.scripts.scripts import start

    for node in ("head", "worker"):
        words = [re.sub(r"\$\{\w+:-(.*?)\}", r"\1", word) for word in SERVICES[node]["command"]]
        assert parsed(start, words)["block"]
    cluster = named("gpu", "RayCluster", "tsme")["spec"]
    parsed(start, ["--head", *flags(cluster["headGroupSpec"]["rayStartParams"])])
    parsed(start, flags(cluster["workerGroupSpecs"][0]["rayStartParams"]))
    server = named("gpu", "Deployment", "tsme-mlflow")["spec"]["template"]["spec"]["containers"][0]
    assert server["command"] == ["mlflow"]
    in_kubernetes = parsed(mlflow, server["args"])
    script = SERVICES["mlflow"]["command"][0].split("mlflow ", 1)[1]
    in_compose = parsed(mlflow, shlex.split(script.replace("\\\n", " ")))
    differing = {key for key, value in in_kubernetes.items() if in_compose[key] != value}
    assert differing == {"backend_store_uri", "allowed_hosts"}


# Environment

# Read by what is not among our packages: the database and its client, the S3 client of the server.
OTHERS = {
    "POSTGRES_USER": "postgres image",
    "POSTGRES_DB": "postgres image",
    "POSTGRES_PASSWORD": "postgres image",
    "POSTGRES_PASSWORD_FILE": "postgres image",
    "PGDATA": "postgres image",
    "PGPASSWORD": "libpq, within psycopg",
    "AWS_ACCESS_KEY_ID": "boto3",
    "AWS_SECRET_ACCESS_KEY": "boto3",
    "AWS_DEFAULT_REGION": "boto3",
}


def variables(overlay: str) -> dict[str, Document]:
    """Every environment variable of every container."""
    return {v["name"]: v for c in containers(overlay) for v in c.get("env", [])}


@cache
def sources() -> str:
    """What may read a variable: our code, and the files of Ray, MLflow and torch that do."""
    packages = Path(sys.modules["yaml"].__file__ or "").parents[1]
    files = [*(ROOT / "workflows").glob("*.py"), *(ROOT / "tsme").rglob("*.py")]
    files.append(packages / "torch" / "hub.py")
    files += [packages / "mlflow" / name for name in ("environment_variables.py", "cli/__init__.py")]
    for part in ("_private/authentication", "_common/usage", "_private/runtime_env"):
        files += (packages / "ray" / part).rglob("*.py")
    return "\n".join(file.read_text() for file in files)


@pytest.mark.parametrize("place", [*OVERLAYS, "compose"])
def test_every_variable_is_read_by_something(place: str):
    found = (
        {key for service in SERVICES.values() for key in service.get("environment", {})}
        if place == "compose"
        else set(variables(place))
    )
    assert "MLFLOW_TRACKING_URI" in found
    for name in found - set(OTHERS):
        assert re.search(rf"\b{name}\b", sources()), name


# Images


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


# Secrets


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


# Pods


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


# Networks


def selects(selector: Document, its: dict[str, str]) -> bool:
    """Whether a label selector picks a pod with these labels."""
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In"
        if its.get(rule["key"]) not in rule["values"]:
            return False
    return all(its.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def permits(rules: list[Document], side: str, other: dict[str, str], port: int) -> bool:
    """Whether any rule lets this other pod of the namespace through at this port."""
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


@every_overlay
def test_selectors_pick_something(overlay: str):
    everything = [labels(pod) for pod in pods(overlay)]
    for document in of_kind(overlay, "NetworkPolicy", "PodDisruptionBudget", "Service"):
        spec = document["spec"]
        selector = spec.get("podSelector", spec.get("selector"))
        if document["kind"] == "Service":
            selector = {"matchLabels": selector}
        assert any(selects(selector, its) for its in everything), document["metadata"]["name"]


# What KubeRay's operator refuses or needs, which its schema does not say


@every_overlay
def test_jobs_clean_up_after_themselves_and_can_wait(overlay: str):
    for name in JOBS:
        spec = named(overlay, "RayJob", name)["spec"]
        assert spec["shutdownAfterJobFinishes"]  # also what lets `suspend` be set
        assert spec["ttlSecondsAfterFinished"] > 0 and spec["activeDeadlineSeconds"] > 0
        assert "deletionStrategy" not in spec and "clusterSelector" not in spec
        assert spec["submitterPodTemplate"]["spec"]["restartPolicy"] == "Never"
        # Another try continues; the demo always does.
        assert re.search("--resume|tsme demo", spec["entrypoint"])
    assert named(overlay, "RayJob", "tsme-sweep")["spec"]["suspend"]
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


# Compose


def test_compose_services_wait_for_each_other_and_say_how_they_are():
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
