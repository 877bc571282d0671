"""The whole application as a user has it: a data folder, `aegis serve` as a process, and `aegis` commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from evals.bench.server import ROOT, free_port

READY_SECONDS = 90
COMMAND_SECONDS = 120
QUIET = {  # nothing is taken in that the test did not send, and no language model answers
    "AEGIS_INGESTION__SAMPLES": "no",
    "AEGIS_OLLAMA__URL": "http://127.0.0.1:9",
}


@dataclass
class Site:
    """One data folder. `settings` are further AEGIS_ variables."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.log")

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def environment(self) -> dict[str, str]:
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("AEGIS_")},
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "200",
            "AEGIS_DATA_DIR": str(self.folder),
            "AEGIS_PORT": str(self.port),
            **QUIET,
            **self.settings,
        }

    def start(self, *, ready: bool = True) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "aegis.cli", "serve"], env=self.environment(), cwd=ROOT, stdout=log, stderr=log
            )
        if ready:
            self.wait_ready()

    def wait_ready(self) -> None:
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and self.process is not None and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=5, trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"the server did not become ready:\n{self.said()[-3000:]}")

    def kill(self) -> None:
        """SIGKILL, at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            if self.process.poll() is None:
                self.kill()

    @contextmanager
    def running(self) -> Generator[httpx.Client]:
        self.start()
        try:
            with self.client() as client:
                yield client
        finally:
            self.stop()

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def children(self, word: str) -> list[psutil.Process]:
        """Processes below the server whose command line has `word`."""
        assert self.process is not None
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [process for process in found if word in " ".join(_command(process))]

    def cli(self, *arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "aegis.cli", *map(str, arguments)],
            env={**self.environment(), **settings},
            cwd=ROOT,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=COMMAND_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def json(self, *arguments: str | Path, code: int = 0, **settings: str) -> Any:
        """What a command with --json prints."""
        done = self.cli(*arguments, "--json", **settings)
        assert done.returncode == code, (done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return json.loads(done.stdout)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # gone meanwhile
        return []


def submit(client: httpx.Client, files: Mapping[Path, bytes]) -> str:
    """The job's id. Sources are what `aegis ingest` would give."""
    answer = client.post(
        "/api/v1/retrieval/ingest",
        files=[("files", (file.name, data)) for file, data in files.items()],
        data={"source": [file.as_uri() for file in files]},
    )
    assert answer.status_code == 202, answer.text
    return answer.json()["job_id"]


def job(client: httpx.Client, job_id: str) -> dict[str, Any]:
    answer = client.get(f"/api/v1/retrieval/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def finished(client: httpx.Client, job_id: str, seconds: float = 180) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while (found := job(client, job_id))["state"] in ("queued", "running"):
        assert time.monotonic() < until, found
        time.sleep(0.1)
    return found


def eventually(condition: Any, seconds: float = 30) -> None:
    """Until `condition()` holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to hold"
        time.sleep(0.1)


def check(client: httpx.Client, name: str) -> dict[str, Any]:
    """One backend's line of /health/ready."""
    return next(one for one in client.get("/health/ready").json()["checks"] if one["name"] == name)
