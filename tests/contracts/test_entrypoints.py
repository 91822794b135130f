"""Commands and variables of compose.yaml, manifests and guide exist in this project, Ray or MLflow."""

from __future__ import annotations

import re
import shlex
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployment import (
    GUIDE,
    JOBS,
    OVERLAYS,
    ROOT,
    SERVICES,
    every_overlay,
    named,
    variables,
)
from tsme.presets import preset
from tsme.settings import override, parse_settings
from workflows.cli.main import app


def parsed(command: Any, words: list[str], parent: Any = None) -> dict[str, Any]:
    """The options of a command line as click parses them; raises if click would."""
    context = command.make_context(command.name, list(words), parent=parent)
    rest = [*getattr(context, "_protected_args", []), *context.args]
    if hasattr(command, "resolve_command"):
        _, chosen, rest = command.resolve_command(context, rest)
        return parsed(chosen, rest, context)
    return context.params


def check_entrypoint(entrypoint: list[str]) -> None:
    """It is a valid `tsme` command that does not depend on the working folder."""
    assert entrypoint[0] == "tsme" or entrypoint[:3] == ["python", "-m", "workflows"], entrypoint
    from typer.main import get_command

    options = parsed(get_command(app), entrypoint[1 if entrypoint[0] == "tsme" else 3 :])
    assert Path(options["out"]).is_absolute() and Path(options.get("data", "/")).is_absolute()
    if "preset" in options:
        override(preset(options["preset"]), parse_settings(options["set_"]))


@every_overlay
@pytest.mark.parametrize("job", JOBS)
def test_job_entrypoints_are_valid_commands(overlay: str, job: str):
    entrypoint = named(overlay, "RayJob", job)["spec"]["entrypoint"]
    # KubeRay writes it into a shell script without quoting.
    assert not set(entrypoint) & set(";&|<>$`\"'\\\n*?")
    check_entrypoint(entrypoint.split())


def test_compose_submits_a_valid_command():
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


def test_commands_of_the_guide_are_valid():
    """Commands of jobs, and arguments of containers."""
    from typer.main import get_command

    found = re.findall(r"^.*(?: -- tsme | tsme:c\w+ )(.*)$", guide_blocks(), re.MULTILINE)
    found = [line for line in found if not line.lstrip().startswith(("ui", "."))]
    assert len(found) == 5
    for line in found:
        parsed(get_command(app), shlex.split(line))


def test_the_guide_names_existing_files():
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


# Read by programs outside the installed packages: the database, its client, the S3 client of the server.
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


@cache
def sources() -> str:
    """Code that may read a variable: this project, and the files of Ray, MLflow and torch that do."""
    packages = Path(sys.modules["yaml"].__file__ or "").parents[1]
    files = [*(ROOT / "workflows").rglob("*.py"), *(ROOT / "tsme").rglob("*.py")]
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
