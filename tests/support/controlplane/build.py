"""The programs of a Kubernetes control plane, built once from public Go modules.

go.mod pins etcd, Kubernetes' API server, controllers, scheduler and kubectl, and KubeRay's operator.
Everything is in CACHE, which may be deleted. Building took 13 minutes of one core and 5 GB of disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tsme-controlplane"
KUBERAY = "github.com/ray-project/kuberay/ray-operator"


def find_go() -> str | None:
    """Go's command, where it is installed."""
    return shutil.which("go") or shutil.which("/usr/local/go/bin/go")


def build() -> Path:
    """Folder of the programs (`bin`) and KubeRay's manifests (`kuberay`), built if need be."""
    pins = (HERE / "go.mod").read_text()
    folder = CACHE / hashlib.sha256(pins.encode()).hexdigest()[:12]
    if (folder / "kuberay").exists():  # copied last
        return folder
    _go(folder, "install", "-ldflags=-s -w", "tool")
    os.replace(folder / "bin" / "server", folder / "bin" / "etcd")
    manifests = Path(_go(folder, "list", "-m", "-f", "{{.Dir}}", KUBERAY)) / "config"
    shutil.copytree(manifests, folder / "kuberay", copy_function=shutil.copyfile)
    return folder


def _go(folder: Path, *words: str) -> str:
    """Run Go in the module beside this file; returns its output."""
    env = os.environ | {
        "CGO_ENABLED": "0",
        "GOBIN": str(folder / "bin"),
        "GOCACHE": str(CACHE / "build"),
        "GOMODCACHE": str(CACHE / "mod"),
        # One package at a time; modules that their owner can delete.
        "GOFLAGS": "-p=1 -buildvcs=false -modcacherw",
    }
    go = find_go()
    assert go
    done = subprocess.run([go, *words], cwd=HERE, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()
