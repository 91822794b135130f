"""A tracking server whose answers end before they are complete."""

from __future__ import annotations

import socketserver
import threading

import pytest

from workflows.tracking.runs import MlflowRun


@pytest.mark.parametrize(("cut", "calls"), [(1, 2), (0, 1)])
def test_a_request_is_repeated_if_its_answer_is_cut_off(cut: int, calls: int):
    """The server stops between the head of its answer and the body; MLflow does not retry that."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    requests: list[int] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while (line := self.rfile.readline().strip()) != b"":
                if line.lower().startswith(b"content-length"):
                    length = int(line.split(b":")[1])
            self.rfile.read(length)
            requests.append(length)
            self.wfile.write(head + (b"" if len(requests) <= cut else b"{}"))

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_address[1]}"
        MlflowRun(uri, "0", "a" * 32).log_metrics({"loss": 1.0}, step=1)
        server.shutdown()
    assert len(requests) == calls
