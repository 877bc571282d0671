"""A server of ours in a process of its own, on a free loopback port and a fresh data folder."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from aegis.errors import Unavailable

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 180
DATASETS = "AEGIS_DATASETS"


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    pid: int
    folder: Path

    def memory(self) -> dict[str, float]:
        """PSS in MB of each process: ours and its children."""
        parent = psutil.Process(self.pid)
        found: dict[str, float] = {}
        for process in (parent, *parent.children(recursive=True)):
            used = process.memory_full_info()
            label = f"{process.pid} {' '.join(process.cmdline()[1:4])}"
            found[label] = round(getattr(used, "pss", used.rss) / 1e6, 1)
        return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running_server(
    folder: Path, settings: Mapping[str, str] | None = None, *, wrapped: Sequence[str] = ()
) -> AsyncGenerator[Server]:
    """Started, ready, and stopped at the end. `settings` are further AEGIS_ variables; `wrapped` are arguments of
    Python that run the server inside a tool, such as `-m memray run`."""
    port = free_port()
    environment = {
        "PYTHONPATH": str(ROOT),
        "AEGIS_DATA_DIR": str(folder),
        "AEGIS_PORT": str(port),
        "AEGIS_OLLAMA__URL": "http://127.0.0.1:9",  # nothing answers there: the extractive writer
        **(settings or {}),
    }
    command = (sys.executable, *wrapped, "-m", "aegis.cli", "serve")
    async with running_process(command, port, folder, environment) as server:
        yield server


@asynccontextmanager
async def running_process(
    command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str]
) -> AsyncGenerator[Server]:
    """Any server that answers /health/ready; what it prints goes beside `folder`. Raises Unavailable."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AEGIS_") or key == DATASETS}
    with folder.with_name(f"{folder.name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, env={**inherited, **environment}, stdout=log, stderr=log
        )
    server = Server(f"http://127.0.0.1:{port}", process.pid, folder)
    try:
        await _ready(server, process)
        yield server
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _ready(server: Server, process: asyncio.subprocess.Process) -> None:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        for _ in range(READY_SECONDS * 10):
            if process.returncode is not None:
                break
            try:
                if (await client.get("/health/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    log = server.folder.with_name(f"{server.folder.name}.log")
    raise Unavailable(f"The server did not become ready: {log.read_text(errors='replace')[-2000:]}")
