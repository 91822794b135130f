"""What produced a run: user, code, packages, data; and its configuration as flat names."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workflows.cluster.environment import in_submitted_job

PACKAGES = ("torch", "torchvision", "ray", "mlflow", "numpy", "optuna", "pillow")


def provenance_tags(fingerprint: str) -> dict[str, str]:
    """Tags of a parent run: data, code and packages."""
    versions = {f"version.{package}": version(package) for package in PACKAGES}
    return versions | {
        "data_fingerprint": fingerprint,
        "git_revision": git_revision(),
        "version.python": platform.python_version(),
    }


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


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a.b": value} from nested dictionaries."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
