"""A real Prometheus on a free loopback port, scraping one target of ours every second."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.servers import ServerMissing, free_port

START_SECONDS = 30
CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: aegis
    static_configs: [{{targets: ["127.0.0.1:{target}"]}}]
"""


@contextmanager
def running_prometheus(target: int, rules: Path) -> Generator[str]:
    """Its address. `target`: the port of a server with /metrics. Raises ServerMissing where there is no Prometheus."""
    binary = shutil.which("prometheus")
    if binary is None:
        raise ServerMissing("Prometheus is not installed (Debian: apt-get install prometheus).")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="aegis-prometheus-") as folder:
        configuration = Path(folder) / "prometheus.yaml"
        configuration.write_text(CONFIGURATION.format(rules=rules.resolve(), target=target), encoding="utf-8")
        command = [
            binary, f"--config.file={configuration}", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]  # fmt: skip
        with (Path(folder) / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _await_ready(server, f"http://127.0.0.1:{port}", Path(folder) / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def _await_ready(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(f"{url}/-/ready", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise ServerMissing(f"Prometheus did not start: {log.read_text('utf-8', 'replace')[-500:]}")
