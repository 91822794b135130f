"""Several hosts on one machine: network namespaces, connected by a bridge.

A host has its own network (`eth0`), processes, host name, /dev/shm and /tmp/ray. The rest of the file
system is shared, like a network file system. Needs root.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

# These addresses exist in the namespaces only.
ADDRESS = "10.213.0.{}"
PREFIX = "tsme"
# `ip netns exec` shows the files of NETNS_FILES/NETNS_FILESPACE in place of those in /etc.
NETNS_FILES = Path("/etc/netns")
TOOLS = ("ip", "unshare", "setpriv")
# The processes of a host end with its first one, which ends with the test process.
ISOLATED = (
    "setpriv --pdeathsig KILL -- ip netns exec {} unshare --uts --pid --fork --kill-child --mount-proc"
)
SETUP = """
hostname "$1" && mount --bind "$2" /tmp/ray && mount -t tmpfs -o size=256m tmpfs /dev/shm || exit 125
shift 2; exec "$@"
"""


def why_impossible() -> str | None:
    """Why network namespaces do not work on this machine; None if they do."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"network namespaces need {' and '.join(missing)}"
    allowed = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True
    )
    return "network namespaces need root" if allowed.returncode else None


def sh(command: str) -> None:
    """Run a command; raise RuntimeError with its errors if it fails."""
    done = subprocess.run(command.split(), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.strip()}")


def remove(namespace: str) -> None:
    """Remove a namespace and its network devices."""
    subprocess.run(["ip", "netns", "delete", namespace], capture_output=True)
    shutil.rmtree(NETNS_FILES / namespace, ignore_errors=True)


def remove_left_over() -> None:
    """Remove the namespaces of killed tests, whose processes have ended."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    for name, pid in re.findall(rf"^({PREFIX}(\d+)-\w+)", listed, re.MULTILINE):
        if not Path("/proc", pid).exists():
            remove(name)


@dataclass
class Host:
    """A host of a `Network`. Its processes end with `kill`, or with the network."""

    name: str
    address: str
    namespace: str
    switch: str
    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(
        self, command: list[str], env: Mapping[str, str], out: IO[str] | int
    ) -> subprocess.Popen[str]:
        """Start a command on this host; its output and errors go to `out`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        isolated = [*ISOLATED.format(self.namespace).split(), "--", "sh", "-c", SETUP, "sh"]
        process = subprocess.Popen(
            [*isolated, self.name, str(self.folder), *command],
            env=dict(env), stdout=out, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def run(self, command: list[str], env: Mapping[str, str], timeout: float = 60) -> tuple[int, str]:
        """Run a command on this host; returns exit status and output."""
        process = self.start(command, env, subprocess.PIPE)
        try:
            output, _ = process.communicate(timeout=timeout)
        finally:
            self._end(process)
        return process.returncode, output

    def kill(self) -> None:
        """Kill all processes of the host. Unlike after a power cut, its connections are closed."""
        for process in list(self.processes):
            self._end(process)

    def _end(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        process.wait(timeout=30)
        self.processes.remove(process)

    def cut(self) -> None:
        """Disconnect the host from the network. Its processes continue."""
        sh(f"ip -n {self.switch} link set dev {self.name} down")


class Network:
    """A bridge and its hosts, by name. All are removed at the end of the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = f"{PREFIX}{os.getpid()}"
        self.switch = f"{self.prefix}-switch"
        self.namespaces: list[str] = []
        self.hosts: dict[str, Host] = {}

    def __enter__(self) -> Network:
        Path("/tmp/ray").mkdir(exist_ok=True)  # a mount point
        remove_left_over()
        try:
            self._namespace(self.switch)
            sh(f"ip -n {self.switch} link add name bridge type bridge")
            sh(f"ip -n {self.switch} link set bridge up")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def add(self, name: str) -> Host:
        """Add and connect a host. Its name is short and was not used before."""
        host = Host(
            name=name,
            address=ADDRESS.format(len(self.hosts) + 1),
            namespace=f"{self.prefix}-{name}",
            switch=self.switch,
            folder=self.folder / name,
        )
        # As on Debian: the host name resolves to an address that other hosts cannot reach.
        own = NETNS_FILES / host.namespace
        own.mkdir(parents=True)
        (own / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n")
        self._namespace(host.namespace)
        sh(f"ip -n {self.switch} link add name {name} type veth peer name eth0 netns {host.namespace}")
        sh(f"ip -n {self.switch} link set dev {name} master bridge up")
        sh(f"ip -n {host.namespace} address add {host.address}/24 dev eth0")
        sh(f"ip -n {host.namespace} link set eth0 up")
        sh(f"ip -n {host.namespace} route add default dev eth0")
        self.hosts[name] = host
        return host

    def _namespace(self, name: str) -> None:
        self.namespaces.append(name)
        sh(f"ip netns add {name}")
        sh(f"ip -n {name} link set lo up")

    def _remove(self) -> None:
        for host in self.hosts.values():
            host.kill()
        for name in self.namespaces:
            remove(name)
