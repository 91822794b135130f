"""Nodes without containers: what a kubelet reports, for pods that the scheduler has bound to them.

A pod is running and ready as soon as it is bound, and gone as soon as it is deleted. Its log is its
command. Nothing is executed. A test ends a pod with `finish`.
"""

from __future__ import annotations

import json
import shlex
import ssl
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.controlplane.processes import LOCALHOST, ControlPlane

Pod = dict[str, Any]


class Nodes:
    """Nodes of a control plane, while the block lasts."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.errors: list[BaseException] = []
        self.addresses = iter(f"10.244.{i // 250}.{i % 250 + 1}" for i in range(10_000))
        self.ended = threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.server = self._log_server()

    def __enter__(self) -> Nodes:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.watcher.join()
        self.server.shutdown()
        self.server.server_close()
        assert not self.errors, self.errors

    def add(self, name: str, *, cpus: int, memory: str, gpus: int = 0) -> None:
        """Add a ready node; one with GPUs takes only pods that tolerate their taint."""
        resources = {"cpu": str(cpus), "memory": memory, "pods": "110", "ephemeral-storage": "500Gi"}
        taints = []
        if gpus:
            resources["nvidia.com/gpu"] = str(gpus)
            taints = [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
        metadata = {"name": name, "labels": {"kubernetes.io/hostname": name}}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": taints}}
        self.plane.apply(node)
        now = timestamp()
        status = {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [{"type": "InternalIP", "address": LOCALHOST}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.server.server_port}},
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}
                | {"lastHeartbeatTime": now, "lastTransitionTime": now}
            ],
        }
        self._patch(f"/api/v1/nodes/{name}/status", {"status": status})

    def finish(self, pod: Pod, exit_code: int) -> None:
        """Report that all containers of a pod have ended."""
        now = timestamp()
        ended = {"exitCode": exit_code, "reason": "Error" if exit_code else "Completed"}
        ended |= {"startedAt": pod["status"]["startTime"], "finishedAt": now}
        phase = "Failed" if exit_code else "Succeeded"
        self._report(pod, phase, {"terminated": ended}, ready=False)

    def _watch(self) -> None:
        try:
            while not self.ended.is_set():
                url = f"{self.plane.address}/api/v1/pods"
                options = {"watch": "1", "timeoutSeconds": "3"}
                with self.plane.api.get(url, params=options, stream=True, timeout=60) as events:
                    events.raise_for_status()
                    for line in events.iter_lines():
                        event = json.loads(line)
                        if event["type"] in ("ADDED", "MODIFIED"):
                            self._act(event["object"])
        except BaseException as error:
            if not self.ended.is_set():
                self.errors.append(error)

    def _act(self, pod: Pod) -> None:
        """Do what the kubelet of the pod's node does."""
        if "nodeName" not in pod["spec"]:
            return
        if "deletionTimestamp" in pod["metadata"]:
            body = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
            self.plane.api.delete(self.plane.address + path(pod), json=body, timeout=60)
        elif pod["status"]["phase"] == "Pending":
            state = {"running": {"startedAt": timestamp()}}
            addresses = {"hostIP": LOCALHOST, "podIP": next(self.addresses), "startTime": timestamp()}
            addresses["podIPs"] = [{"ip": addresses["podIP"]}]
            self._report(pod, "Running", state, ready=True, **addresses)

    def _report(self, pod: Pod, phase: str, state: dict[str, Any], *, ready: bool, **more: Any) -> None:
        """Patch a pod's status: phase, conditions, and one state for all containers."""
        now = timestamp()
        conditions = [
            {"type": kind, "status": str(ready or kind == "Initialized"), "lastTransitionTime": now}
            for kind in ("Initialized", "Ready", "ContainersReady")
        ]
        containers = [
            {
                "name": c["name"],
                "image": c["image"],
                "imageID": "none",
                "containerID": f"none://{c['name']}",
            }
            | {"ready": ready, "started": ready, "restartCount": 0, "state": state}
            for c in pod["spec"]["containers"]
        ]
        status = {"phase": phase, "conditions": conditions, "containerStatuses": containers} | more
        self._patch(f"{path(pod)}/status", {"status": status})

    def _patch(self, resource: str, content: dict[str, Any]) -> None:
        kind = {"Content-Type": "application/strategic-merge-patch+json"}
        answer = self.plane.api.patch(
            self.plane.address + resource, data=json.dumps(content), headers=kind, timeout=60
        )
        assert answer.ok or answer.status_code == 404, answer.text  # 404: it is gone

    def _log_server(self) -> ThreadingHTTPServer:
        """A server for what the API server asks kubelets: here only the log of a container."""
        plane = self.plane

        class Kubelet(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                _, kind, namespace, name, container = self.path.partition("?")[0].split("/")
                assert kind == "containerLogs"
                pod = plane.get("pod", name, f"--namespace={namespace}")
                (spec,) = (c for c in pod["spec"]["containers"] if c["name"] == container)
                words = spec.get("command", []) + spec.get("args", [])
                self.send_response(200)
                self.end_headers()
                self.wfile.write(f"{shlex.join(words)}\n".encode())

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer((LOCALHOST, 0), Kubelet)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        folder = plane.folder / "certificates"
        context.load_cert_chain(folder / "apiserver.crt", folder / "apiserver.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        return server


def path(pod: Pod) -> str:
    """A pod's path in the API."""
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
