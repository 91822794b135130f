"""What made a run: code, packages, data; and its configuration as flat names."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "ray", "mlflow", "numpy", "optuna", "pillow")


def provenance_tags(fingerprint: str) -> dict[str, str]:
    """What made the run: data, code and packages."""
    versions = {f"version.{package}": version(package) for package in PACKAGES}
    return versions | {
        "data_fingerprint": fingerprint,
        "git_revision": git_revision(),
        "version.python": platform.python_version(),
    }


def git_revision() -> str:
    """Revision of the code, with "+changes" where files differ from it.

    Where git does not keep it, what TSME_REVISION says of the package installed with the interpreter
    (container images are built with it), else "unknown": a copy sent along with a job is other code.
    """
    file = Path(__file__)
    try:
        _git("ls-files", "--error-unmatch", file.name)  # not somebody else's repository around a venv
        return _git("describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        installed = file.is_relative_to(sys.prefix)
        return os.environ.get("TSME_REVISION", "unknown") if installed else "unknown"


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
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
