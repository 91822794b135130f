"""What produced a run: user, code, packages, data; and its configuration as flat names."""

from __future__ import annotations

import getpass
import os
import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from workflows.cluster.environment import in_submitted_job
from workflows.tracking.server import redact

PACKAGES = ("torch", "torchvision", "ray", "mlflow", "numpy", "optuna", "pillow")


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on."""
    versions = {package: version(package) for package in PACKAGES}
    return {"tsme": version("tsme"), "python": platform.python_version()} | versions


def machine() -> dict[str, str]:
    """This machine: host name, operating system, number and kind of CPUs."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "cpus": f"{os.cpu_count()} x {_processor()}",
    }


def _processor() -> str:
    """The processor's name where Linux tells it, otherwise its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def command_line() -> str:
    """The command that is running, to copy to a shell."""
    return shlex.join(["tsme", *map(redact, sys.argv[1:])])


def provenance_tags(fingerprint: str) -> dict[str, str]:
    """Tags of a parent run: data, code and packages."""
    versions = {f"version.{package}": number for package, number in package_versions().items()}
    return versions | {"data_fingerprint": fingerprint, "git_revision": git_revision()}


def source_tags() -> dict[str, str]:
    """Tags that MLflow's pages show for every run: user, program and git commit."""
    tags = {
        "mlflow.source.name": "tsme",
        "mlflow.source.type": "JOB" if in_submitted_job() else "LOCAL",
    }
    try:
        tags["mlflow.user"] = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        tags["mlflow.user"] = str(os.getuid())
    commit = git_revision().removesuffix("+changes")
    return tags if commit == "unknown" else tags | {"mlflow.source.git.commit": commit}


@cache
def git_revision() -> str:
    """Revision of the code, with "+changes" if files differ from it.

    If the code is not in a git repository: TSME_REVISION if the package is installed with the interpreter
    (container images are built with that variable), otherwise "unknown", as for a copy sent with a job.
    """
    file = Path(__file__)
    try:
        _git("ls-files", "--error-unmatch", file.name)  # not a repository around .venv
        return _git("describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        installed = file.is_relative_to(sys.prefix)
        return os.environ.get("TSME_REVISION", "unknown") if installed else "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
