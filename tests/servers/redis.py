"""A real Redis (or Valkey) on a free loopback port; nothing is written to disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager

from tests.servers import ServerMissing, free_port

VARIABLE = "AEGIS_TEST_REDIS_URL"
START_SECONDS = 30


@contextmanager
def running_redis(port: int | None = None) -> Generator[str]:
    """Its address. Raises ServerMissing where there is none. A port may be given, to start it again."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        raise ServerMissing("Redis is not installed (Debian: apt-get install redis-server).")
    chosen = port or free_port()
    with tempfile.TemporaryDirectory(prefix="aegis-redis-") as folder:
        command = [binary, "--port", str(chosen), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        with open(f"{folder}/log", "w", encoding="utf-8") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _await_ready(server, chosen, f"{folder}/log")
            yield f"redis://127.0.0.1:{chosen}/0"
        finally:
            server.kill()
            server.wait()


def _await_ready(server: subprocess.Popen[bytes], port: int, log: str) -> None:
    until = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(5) == b"+PONG":
                    return
        except OSError:
            pass
        time.sleep(0.02)
    with open(log, encoding="utf-8") as lines:
        raise ServerMissing(f"Redis did not start: {lines.read()[-500:]}")
