"""Traces: one per request, sent to where the standard environment variables say, without what people ask."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aegis.tracing import wanted
from tests.system.application import Site

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
QUESTION = "What is the outbox for, asks Zebedee?"


class Receiver(ThreadingHTTPServer):
    """Speaks OTLP over HTTP, on loopback."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []

    def spans(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        sent = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for each in sent
            for resource in each.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Generator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_standard_variables_decide() -> None:
    assert wanted({}) == ""
    assert wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}) == "otlp"
    assert wanted({"OTEL_TRACES_EXPORTER": "console"}) == "console"
    assert wanted({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}) == ""
    assert wanted({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}) == ""


def test_one_trace_from_the_request_to_the_backends(receiver: Receiver, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{receiver.server_address[1]}"
    site = Site(tmp_path / "var", {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "200"})
    with site.running() as client:
        answer = client.post("/api/v1/chat", json={"question": QUESTION}, headers={"traceparent": PARENT})
        assert answer.status_code == 200, answer.text
        mine = _arrived(receiver, "POST /api/v1/chat")
    by_id = {span.span_id: span for span in mine}
    names = {span.name for span in mine}
    assert "POST /api/v1/chat" in names
    assert {"node retrieve", "node remember", "database write"} <= names
    root = next(span for span in mine if span.name == "POST /api/v1/chat")
    assert root.parent_span_id.hex() == PARENT.split("-")[2]
    for span in mine:
        above = span
        while above is not root:
            above = by_id[above.parent_span_id]
    assert all(b"Zebedee" not in body for body in receiver.bodies)


def _arrived(receiver: Receiver, root: str) -> list[Any]:
    """The spans of our trace, once the one that ends last is among them."""
    until = time.monotonic() + 30
    while True:
        mine = [span for span in receiver.spans() if span.trace_id.hex() == PARENT.split("-")[1]]
        if any(span.name == root for span in mine) or time.monotonic() > until:
            return mine
        time.sleep(0.1)


def test_a_receiver_that_is_gone_holds_up_nobody(tmp_path: Path) -> None:
    site = Site(
        tmp_path / "var", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    )
    with site.running() as client:
        for _ in range(3):
            assert client.post("/api/v1/chat", json={"question": QUESTION}).status_code == 200
        began = time.monotonic()
    assert time.monotonic() - began < 30  # its end included


def test_without_the_variables_nothing_of_it_is_loaded() -> None:
    code = "import aegis.services, aegis.tracing, sys; print('opentelemetry.sdk' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
