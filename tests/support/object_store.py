"""S3 on this machine for the tests: moto serves the real protocol to the real clients."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3

USER = "tests"
SECRET = "a-secret-that-nobody-prints"
SERVE = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until a server listens on the port."""
    deadline = time.monotonic() + 60
    while True:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        assert time.monotonic() < deadline, f"no server listens on port {port}"
        time.sleep(0.1)


def environment(port: int) -> dict[str, str]:
    """The environment variables of its clients, which also keep the tests away from real buckets."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": USER,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",  # looking for EC2's metadata service takes seconds
    }


@contextmanager
def serving(port: int, log: Path) -> Iterator[Any]:
    """Run the server with one bucket, named `bucket`; yields boto3's client."""
    with log.open("w") as output:
        server = subprocess.Popen([sys.executable, "-c", SERVE, str(port)], stdout=output, stderr=output)
    try:
        wait_for(port)
        client = boto3.client(
            "s3",
            region_name="us-east-1",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id=USER,
            aws_secret_access_key=SECRET,
        )
        client.create_bucket(Bucket="bucket")
        yield client
    finally:
        server.kill()
        server.wait()


def contents(client: Any, prefix: str) -> dict[str, bytes]:
    """The contents of all files whose key begins with `prefix`, by key."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return {
        key: client.get_object(Bucket="bucket", Key=key)["Body"].read()
        for key in keys
        if not key.endswith("/")
    }


class Cable:
    """A connection to the server that breaks for good after `size` bytes sent to it."""

    def __init__(self, port: int, size: int) -> None:
        self.server, self.left = port, size
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def broken(self) -> bool:
        return self.left < 0

    def _accept(self) -> None:
        while True:
            client, _ = self.listener.accept()
            if self.broken:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.server))
            for source, target in ((client, server), (server, client)):
                threading.Thread(
                    target=self._pass, args=(source, target, source is client), daemon=True
                ).start()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.left -= len(data) if counted else 0
                if self.broken:
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
