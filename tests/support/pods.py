"""The containers of a pod, run with buildah: one network, one process space, no container engine."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

SERVICES = ("tsme-postgres", "tsme-mlflow", "tsme-head-svc")  # all have the same address here


def run(*command: str | Path, timeout: int = 600, **options: Any) -> str:
    """Run a command that must succeed; returns its standard output."""
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=timeout, **options)
    assert done.returncode == 0, f"{shlex.join(words)}: {done.stdout[-3000:]}"
    return done.stdout.strip()


class Pod:
    """A network and a process space for several containers, isolated from this machine's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.containers: list[str] = []
        self.anchor = subprocess.Popen(
            ["unshare", "--net", "--pid", "--mount-proc", "--fork", "--kill-child", "sleep", "1800"]
        )
        children = Path(f"/proc/{self.anchor.pid}/task/{self.anchor.pid}/children")
        wait_for(lambda: children.read_text().strip(), "the namespaces")
        first = children.read_text().strip()
        self.enter = ["nsenter", f"--target={first}", "--net", "--pid", "--mount"]
        run(*self.enter, "ip", "link", "set", "lo", "up")

    def close(self) -> None:
        """End all processes and remove the containers."""
        self.anchor.kill()  # and with it the namespace's first process, which ends all others
        self.anchor.wait()
        for container in self.containers:
            run("buildah", "rm", container)

    def container(self, image: str, template: dict[str, Any]) -> Container:
        """A container with the volumes and environment of a pod template's first container."""
        hosts = [f"--add-host={name}:127.0.0.1" for name in SERVICES]
        name = run("buildah", "from", *hosts, image)
        self.containers.append(name)
        return Container(self, name, template["spec"])


class Container:
    """A container of a pod. Its emptyDir volumes are its own folders; claims are shared by the pod."""

    def __init__(self, pod: Pod, name: str, spec: dict[str, Any]) -> None:
        self.pod, self.name = pod, name
        self.spec = spec["containers"][0]
        self.options = ["--isolation=chroot"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for mount in self.spec["volumeMounts"]:
            volume = volumes[mount["name"]]
            path = mount["mountPath"]
            if volume.get("emptyDir", {}).get("medium") == "Memory":
                self.options += ["--mount", f"type=tmpfs,destination={path}"]
                continue
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            source = pod.folder / (claim or f"{name}-{mount['name']}")
            if not source.exists():
                source.mkdir()
                os.chown(source, 1000, 1000)
            self.options += ["--volume", f"{source}:{path}"]

    def command(self, words: list[str], env: dict[str, str]) -> list[str]:
        """The command that runs `words` in the container; `env` has values for secrets."""
        plain = {v["name"]: v["value"] for v in self.spec.get("env", []) if "value" in v}
        variables = [f"--env={key}={value}" for key, value in (plain | env).items()]
        return [*self.pod.enter, "buildah", "run", *self.options, *variables, self.name, "--", *words]

    def start(self, words: list[str], env: dict[str, str], log: str) -> subprocess.Popen[bytes]:
        """Start `words`; their output goes to the file `log`."""
        out = (self.pod.folder / log).open("wb")
        return subprocess.Popen(self.command(words, env), stdout=out, stderr=subprocess.STDOUT)

    def run(self, words: list[str], env: dict[str, str] | None = None) -> str:
        """Run `words`, which must succeed; returns their output."""
        return run(*self.command(words, env or {}), stderr=subprocess.STDOUT)

    def written(self) -> list[str]:
        """Files that its user created in the image's file system, which is read-only in a cluster."""
        top = Path(run("buildah", "mount", self.name)).with_name("diff")
        return [str(path) for path in top.rglob("*") if path.lstat().st_uid == 1000 and not path.is_dir()]


def wait_for(done: Any, what: str, seconds: int = 120) -> None:
    """Wait until `done()` is true."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.5)


def answers(pod: Pod, port: int, path: str, host: str = "10.1.2.3") -> bool:
    """Whether a request for this host succeeds; by default an address, as in the kubelet's probes."""
    words = ["curl", "--fail", "--silent", "--max-time", "5", "--header", f"Host: {host}:{port}"]
    command = [*pod.enter, *words, f"http://127.0.0.1:{port}{path}"]
    return subprocess.run(command, capture_output=True).returncode == 0
