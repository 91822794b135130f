"""Answers of a tracking server that end before they are whole."""

from __future__ import annotations

import socketserver
import threading

import pytest

from workflows.tracking import runs as tracking


@pytest.mark.parametrize(("cut", "calls"), [(1, 2), (0, 1)])
def test_an_answer_that_is_cut_off_is_asked_for_again(cut: int, calls: int):
    """A server that goes down between the head of its answer and the body, which no retry covers."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    asked: list[int] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while (line := self.rfile.readline().strip()) != b"":
                if line.lower().startswith(b"content-length"):
                    length = int(line.split(b":")[1])
            self.rfile.read(length)
            asked.append(length)
            self.wfile.write(head + (b"" if len(asked) <= cut else b"{}"))

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_address[1]}"
        tracking.MlflowRun(uri, "0", "a" * 32).log_metrics({"loss": 1.0}, step=1)
        server.shutdown()
    assert len(asked) == calls
