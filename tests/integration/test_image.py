"""The images, built from docker/Dockerfile without a container engine, run as the manifests describe.

    pytest -m image

Needs root on a Debian machine, with buildah, debootstrap, iproute2, PostgreSQL and kubectl, about 20 GB
of disk, and ten minutes: torch's wheels are large. The images are stored below /var/tmp and removed after
the tests.

A stand-in replaces the official Python image: Debian's Python of the same minor version. The containers
run with buildah's chroot isolation, as the image's user, in their own network and process namespaces.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.pods import Container, Pod, answers, run, wait_for

pytestmark = pytest.mark.image

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
STAND_IN = "localhost/tsme-test-base"
SUITE = "bookworm"  # its Python is 3.11
TOOLS = ("buildah", "debootstrap", "unshare", "nsenter", "ip", "kubectl", "curl", "runuser")
POSTGRES = Path("/usr/lib/postgresql")


@pytest.fixture(scope="module", autouse=True)
def store() -> Iterator[None]:
    """Buildah keeps its images and containers in a temporary folder."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    assert not missing, f"install {missing}"
    assert os.geteuid() == 0, "run this as root"
    folder = Path(run("mktemp", "--directory", "/var/tmp/tsme-images.XXXXXX"))
    settings = folder / "storage.conf"
    folders = f'graphroot = "{folder / "store"}"\nrunroot = "{folder / "run"}"\n'
    settings.write_text(f'[storage]\ndriver = "overlay"\n{folders}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(settings))
        yield
        run("buildah", "rm", "--all")
        run("buildah", "rmi", "--all", "--force")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict[str, Any]]:
    """The rendered `local` overlay, by kind/name."""
    text = run("kubectl", "kustomize", ROOT / "k8s" / "overlays" / "local")
    documents = [document for document in yaml.safe_load_all(text) if document]
    return {f"{d['kind']}/{d['metadata']['name']}": d for d in documents}


@pytest.fixture(scope="module")
def pip_secrets(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """This machine's settings of pip, as secrets of a build, which no layer keeps."""
    settings = run(sys.executable, "-m", "pip", "config", "list").splitlines()
    options = {
        key.rpartition(".")[2]: value.strip("'") for key, _, value in (r.partition("=") for r in settings)
    }
    folder = tmp_path_factory.mktemp("secrets")
    ca = options.get("cert") or "/etc/ssl/certs/ca-certificates.crt"
    lines = ["[global]", "cert = /run/secrets/ca"]
    for key in ("index-url", "proxy", "trusted-host", "timeout"):
        if key in options:
            lines.append(f"{key} = {options[key]}")
    (folder / "pip").write_text("\n".join(lines) + "\n")
    return [f"--secret=id=pip,src={folder / 'pip'}", f"--secret=id=ca,src={ca}"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of Debian with its Python, instead of the official Python image."""
    folder = tmp_path_factory.mktemp("base")
    packages = "--include=python3,python3-venv,ca-certificates"
    run("debootstrap", "--variant=minbase", packages, SUITE, folder)
    container = run("buildah", "from", "scratch")
    run("buildah", "add", "--quiet", container, folder, "/")
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    run("buildah", "config", "--env", path, container)
    run("buildah", "commit", "--rm", "--quiet", container, STAND_IN)
    shutil.rmtree(folder)
    return STAND_IN


def build(target: str, base: str, pip_secrets: list[str]) -> str:
    tag = f"localhost/tsme-test:{target}"
    options = ["--isolation=chroot", f"--build-arg=BASE={base}", "--build-arg=REVISION=tested"]
    options += [f"--file={DOCKERFILE}", f"--target={target}", f"--tag={tag}", *pip_secrets]
    run("buildah", "build", *options, ROOT, timeout=1200, stderr=subprocess.STDOUT)
    return tag


@pytest.fixture(scope="module")
def tsme_image(base: str, pip_secrets: list[str]) -> str:
    """The `cuda` target. The `cpu` target differs only in the package index of torch."""
    return build("cuda", base, pip_secrets)


@pytest.fixture(scope="module")
def mlflow_image(base: str, pip_secrets: list[str]) -> str:
    return build("mlflow", base, pip_secrets)


def ray_start(group: dict[str, Any], *flags: str, **more: str) -> list[str]:
    """The command that KubeRay generates for a group of nodes."""
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    options = {"metrics-export-port": "8080", "dashboard-agent-listen-port": "52365"}
    options |= {"num-cpus": limits["cpu"]} | group["rayStartParams"]
    words = [*flags, *(f"--{key}={value}" for key, value in (options | more).items())]
    return ["/bin/bash", "-c", "--", f"ulimit -n 65536; ray start --block {shlex.join(words)}"]


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    pod = Pod(tmp_path_factory.mktemp("pod"))
    yield pod
    pod.close()


@pytest.fixture(scope="module")
def database(pod: Pod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """PostgreSQL of this machine, with the manifests' settings; yields the password."""
    password = secrets.token_hex(16)
    binaries = max(POSTGRES.iterdir()) / "bin"
    folder = Path(run("mktemp", "--directory", "/var/tmp/tsme-postgres.XXXXXX"))
    (folder / "password").write_text(password)
    shutil.chown(folder, "postgres")
    shutil.chown(folder / "password", "postgres")
    user = ["runuser", "--user=postgres", "--"]
    run(*user, binaries / "initdb", "--auth=scram-sha-256", "--username=mlflow",
        f"--pwfile={folder / 'password'}", f"--pgdata={folder / 'data'}", cwd=folder)  # fmt: skip
    server = subprocess.Popen(
        [*pod.enter, *user, binaries / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-k", ""],
        cwd=folder, stdout=(pod.folder / "postgres.log").open("wb"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    create = [*pod.enter, str(binaries / "createdb"), "--host=127.0.0.1", "--username=mlflow", "mlflow"]
    env = os.environ | {"PGPASSWORD": password}
    wait_for(lambda: subprocess.run(create, env=env, capture_output=True).returncode == 0, "PostgreSQL")
    yield password
    server.terminate()
    server.wait()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def mlflow(pod: Pod, database: str, mlflow_image: str, manifests: dict[str, Any]) -> str:
    """MLflow with the Deployment's command, environment and volumes; returns its address."""
    server = pod.container(mlflow_image, manifests["Deployment/tsme-mlflow"]["spec"]["template"])
    server.start([*server.spec["command"], *server.spec["args"]], {"PGPASSWORD": database}, "mlflow.log")
    path = server.spec["readinessProbe"]["httpGet"]["path"]
    wait_for(lambda: answers(pod, 5000, path), "MLflow", 180)
    return "http://tsme-mlflow:5000"


@pytest.fixture(scope="module")
def cluster(
    pod: Pod, mlflow: str, tsme_image: str, manifests: dict[str, Any]
) -> tuple[Container, dict[str, str]]:
    """The run's Ray cluster as KubeRay starts it; returns the head and the variables of the token."""
    spec = manifests["RayJob/tsme-run"]["spec"]["rayClusterSpec"]
    token = {"RAY_AUTH_MODE": spec["authOptions"]["mode"], "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    head = pod.container(tsme_image, spec["headGroupSpec"]["template"])
    command = ray_start(spec["headGroupSpec"], "--head", "--dashboard-host=0.0.0.0")
    head.start(command, token, "head.log")
    probe = head.spec["readinessProbe"]["httpGet"]
    wait_for(lambda: answers(pod, probe["port"], probe["path"]), "the head")
    (group,) = spec["workerGroupSpecs"]
    worker = pod.container(tsme_image, group["template"])
    # Ports differ from those in a cluster, where each node has its own address.
    ports = {"dashboard-agent-listen-port": "52366", "metrics-export-port": "8081"}
    worker.start(ray_start(group, address="tsme-head-svc:6379", **ports), token, "worker.log")
    wait_for(lambda: answers(pod, 52366, "/api/healthz"), "the worker")
    return head, token


def submit(pod: Pod, image: str, job: dict[str, Any], token: dict[str, str], name: str) -> str:
    """Submit a RayJob as KubeRay's submitter does; returns the output."""
    submitter = pod.container(image, job["spec"]["submitterPodTemplate"])
    to = "--address http://tsme-head-svc:8265"
    entrypoint = job["spec"]["entrypoint"]
    command = f"ray job submit {to} --submission-id {name} --no-wait -- {entrypoint} ; "
    command += f"ray job logs {to} --follow {name} ; ray job status {to} {name}"
    output = submitter.run(["/bin/bash", "-ce", "--", command], token)
    assert not submitter.written()
    return output


def test_the_image_runs_as_its_user_and_keeps_no_secrets_or_caches(tsme_image: str, mlflow_image: str):
    for image in (tsme_image, mlflow_image):
        details = json.loads(run("buildah", "inspect", "--type=image", image))["OCIv1"]
        assert details["config"]["User"] == "1000:1000"
        assert not any("secret" in entry.lower() for entry in details["config"].get("Env", []))
        container = run("buildah", "from", image)
        root = Path(run("buildah", "mount", container))
        assert not (root / "etc" / "pip.conf").exists() or not (root / "etc" / "pip.conf").read_text()
        for cache in ("root/.cache", "home/tsme/.cache", "tmp", "run/secrets"):
            assert not [path for path in (root / cache).rglob("*") if path.is_file()], cache
        run("buildah", "rm", container)


def test_the_labels_name_the_revision(tsme_image: str):
    labels = json.loads(run("buildah", "inspect", "--type=image", tsme_image))["OCIv1"]["config"][
        "Labels"
    ]
    assert labels["org.opencontainers.image.revision"] == "tested"


def test_the_stand_in_has_the_python_of_the_base(base: str):
    (expected,) = re.findall(r"^ARG BASE=\S+python:(3\.\d+)\.", DOCKERFILE.read_text(), re.MULTILINE)
    container = run("buildah", "from", base)
    version = run("buildah", "run", "--isolation=chroot", container, "--", "python3", "--version")
    run("buildah", "rm", container)
    assert version.startswith(f"Python {expected}.")


def test_packages_are_those_of_the_constraints(tsme_image: str, mlflow_image: str):
    pinned = set((ROOT / "constraints.txt").read_text().splitlines())
    extra = {"tsme", "pip", "setuptools", "wheel", "psycopg", "psycopg-binary", "boto3", "botocore"}
    extra |= {"s3transfer", "jmespath"}  # boto3's own
    for image in (tsme_image, mlflow_image):
        container = run("buildah", "from", image)
        frozen = run(
            "buildah", "run", "--isolation=chroot", container, "--", "pip", "list", "--format=freeze"
        )
        run("buildah", "rm", container)
        strays = {line for line in frozen.splitlines() if line not in pinned}
        assert {line.partition("==")[0] for line in strays} <= extra, strays


def test_the_run_of_the_manifest(pod: Pod, cluster, mlflow: str, tsme_image: str, manifests):
    head, token = cluster
    head.run(shlex.split("tsme data synth /shared/runs/demo/data --ids 40 --images 4"))
    job = manifests["RayJob/tsme-run"]
    output = submit(pod, tsme_image, job, token, "run-1")
    assert "'run-1' succeeded" in output, output[-3000:]
    results = json.loads((pod.folder / "tsme-shared" / "runs" / "demo" / "results.json").read_text())
    assert len(results["trials"]) == 20
    assert results["mlflow_uri"] == mlflow
    program = """
import mlflow
client = mlflow.MlflowClient()
champion = client.get_model_version_by_alias("tsme-regdb", "champion")
print(mlflow.artifacts.download_artifacts(run_id=champion.run_id, artifact_path="results.json"))
"""
    assert head.run(["python", "-c", program], token).endswith("results.json")
    # Submitted again, the run finds all work done.
    again = submit(pod, tsme_image, job, token, "run-2")
    assert "'run-2' succeeded" in again and "train: 0 of 10 trials" in again, again[-3000:]
    # What the cluster does before the pod stops.
    head.run(head.spec["lifecycle"]["preStop"]["exec"]["command"], {"HOSTNAME": "head-0"})
    assert not head.written()


def test_requests_without_the_token_are_refused(pod: Pod, cluster):
    head, token = cluster
    records = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert answers(pod, 5000, records, "tsme-mlflow")
    assert not answers(pod, 5000, records, "evil.example")
    assert not answers(pod, 8265, "/api/jobs/")
    listing = ["ray", "job", "list", "--address", "http://127.0.0.1:8265"]
    head.run(listing, token)
    with pytest.raises(AssertionError):
        head.run(listing, token | {"RAY_AUTH_TOKEN": "0" * 32})
