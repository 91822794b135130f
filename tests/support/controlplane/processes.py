"""A Kubernetes control plane with KubeRay's operator: processes of this machine, on its loopback address.

They are the real programs: etcd, the API server with its admission plugins and RBAC, the controllers, the
scheduler, and the operator with the rights of its own manifests. Nodes are in nodes.py.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

LOCALHOST = "127.0.0.1"
SERVICES = "10.96.0.0/16"
OPERATOR_NAMESPACE = "kuberay-system"
OPERATOR = "kuberay-operator"
USERS = {  # user and group of each token
    "admin": "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
}


def free_port() -> int:
    with socket.socket() as server:
        server.bind((LOCALHOST, 0))
        return server.getsockname()[1]


class ControlPlane:
    """The running control plane. Its processes end with the block; its files are in `folder`."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.bin = programs / "bin"
        self.manifests = programs / "kuberay"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.address = f"https://{LOCALHOST}:{free_port()}"
        self.tokens = {user: secrets.token_hex(16) for user in USERS}
        self.api = requests.Session()
        self.api.headers["Authorization"] = f"Bearer {self.tokens['admin']}"
        self.api.trust_env = False  # no proxy
        self.api.verify = str(folder / "certificates" / "apiserver.crt")

    def __enter__(self) -> ControlPlane:
        try:
            self._start_api_server()
            self._start_controllers()
            self._start_operator()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def kubectl(self, *words: str | Path, stdin: str | None = None, user: str = "admin") -> str:
        """Run kubectl, which must succeed; returns its output."""
        done = self.try_kubectl(*words, stdin=stdin, user=user)
        assert done.returncode == 0, f"kubectl {words}: {done.stderr}"
        return done.stdout

    def try_kubectl(
        self, *words: str | Path, stdin: str | None = None, user: str = "admin"
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl, which may fail."""
        command = [self.bin / "kubectl", f"--kubeconfig={self.kubeconfig(user)}", *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=600)

    def get(self, *words: str | Path) -> dict[str, Any]:
        """An object, or a list of objects."""
        return json.loads(self.kubectl("get", *words, "--output=json"))

    def items(self, *words: str | Path) -> list[dict[str, Any]]:
        """The objects of a list."""
        return self.get(*words)["items"]

    def apply(self, *documents: dict[str, Any]) -> None:
        """Create or change objects."""
        text = "\n".join(map(json.dumps, documents))
        self.kubectl("apply", "--server-side", "--filename=-", stdin=text.replace("\n{", "\n---\n{"))

    def kubeconfig(self, user: str = "admin") -> Path:
        """A file with the address, and the token of a user."""
        file = self.folder / f"{user.replace(':', '-')}.kubeconfig"
        if not file.exists():
            cluster = {"server": self.address, "certificate-authority": self.api.verify}
            config = {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "test", "cluster": cluster}],
                "users": [{"name": user, "user": {"token": self.tokens[user]}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            }
            file.write_text(json.dumps(config))
        return file

    def log(self, program: str) -> str:
        """What a program has written."""
        return (self.folder / f"{program}.log").read_text(errors="replace")

    def wait(self, done: Any, what: str, seconds: float = 300) -> Any:
        """Wait until `done()` is true or not empty; returns it."""
        end = time.monotonic() + seconds
        while not (value := done()):
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended: {self.log(name)[-3000:]}"
            assert time.monotonic() < end, f"waited {seconds} s for {what}"
            time.sleep(0.5)
        return value

    def _start(self, program: str, *options: str, **variables: str) -> None:
        with (self.folder / f"{program}.log").open("wb") as log:
            # The processes end with this one, even if it is killed.
            command = ["setpriv", "--pdeathsig", "KILL", "--", str(self.bin / program), *options]
            proxies = {name for name in os.environ if name.lower().endswith("_proxy")}
            env = {name: value for name, value in os.environ.items() if name not in proxies} | variables
            self.processes[program] = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder, env=env
            )

    def _start_api_server(self) -> None:
        etcd, peer = (f"http://{LOCALHOST}:{free_port()}" for _ in range(2))
        self._start(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        )
        key = self.folder / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        tokens = self.folder / "tokens.csv"
        lines = (f'{self.tokens[user]},{user},{user},"{group}"\n' for user, group in USERS.items())
        tokens.write_text("".join(lines))
        self._start(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            f"--bind-address={LOCALHOST}",
            f"--secure-port={self.address.rpartition(':')[2]}",
            f"--cert-dir={self.folder / 'certificates'}",
            "--advertise-address=10.0.0.1",  # an endpoint may not be a loopback address
            "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range={SERVICES}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=Node,RBAC",
            "--kubelet-preferred-address-types=InternalIP",
        )
        self.wait(self._is_ready, "the API server")

    def _is_ready(self) -> bool:
        try:
            return self.api.get(f"{self.address}/readyz", timeout=5).ok
        except (requests.ConnectionError, requests.Timeout, OSError):
            return False  # it has not written its certificate, or does not listen yet

    def _start_controllers(self) -> None:
        common = (f"--bind-address={LOCALHOST}", "--leader-elect=false")
        self._start(
            "kube-controller-manager",
            *common,
            f"--kubeconfig={self.kubeconfig('system:kube-controller-manager')}",
            f"--secure-port={free_port()}",
            f"--service-account-private-key-file={self.folder / 'accounts.key'}",
            f"--root-ca-file={self.api.verify}",
            "--use-service-account-credentials",
            "--node-monitor-grace-period=1h",  # nodes here renew no lease
        )
        scheduler = f"--kubeconfig={self.kubeconfig('system:kube-scheduler')}"
        self._start("kube-scheduler", *common, scheduler, f"--secure-port={free_port()}")
        self.wait(
            lambda: self.try_kubectl("get", "serviceaccount", "default").returncode == 0, "controllers"
        )

    def _start_operator(self) -> None:
        """KubeRay, with the custom resources, account and rights that its own manifests have."""
        self.kubectl("create", "namespace", OPERATOR_NAMESPACE)
        self.kubectl("apply", "--server-side", "--kustomize", self.manifests / "crd")
        rights = self.folder / "rights"
        rights.mkdir()
        resources = [os.path.relpath(self.manifests / "rbac", rights)]
        content = {"namespace": OPERATOR_NAMESPACE, "resources": resources}
        (rights / "kustomization.yaml").write_text(json.dumps(content))
        self.kubectl("apply", "--server-side", "--kustomize", rights)
        self.tokens[OPERATOR] = self.kubectl(
            "create", "token", OPERATOR, f"--namespace={OPERATOR_NAMESPACE}", "--duration=2h"
        ).strip()
        self._start(
            "ray-operator",
            f"--metrics-addr={LOCALHOST}:{free_port()}",
            f"--health-probe-bind-address={LOCALHOST}:{free_port()}",
            "--enable-leader-election=false",
            KUBECONFIG=str(self.kubeconfig(OPERATOR)),
        )

    def _end(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
