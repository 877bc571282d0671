"""A real PostgreSQL on a free loopback port, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import ServerMissing, free_port

VARIABLE = "AEGIS_TEST_POSTGRES_URL"

# Nothing here must survive a crash of the machine, so nothing waits for the disk.
OPTIONS = "-c listen_addresses=127.0.0.1 -c fsync=off -c full_page_writes=off"


@contextmanager
def running_postgres(port: int | None = None, folder: Path | None = None) -> Generator[str]:
    """Its address. Raises ServerMissing where there is no PostgreSQL. Leaving kills it, as a crash would.

    A port and a folder may be given, to start the same server again.
    """
    binaries = _binaries()
    chosen = port or free_port()
    place = folder or Path(tempfile.mkdtemp(prefix="aegis-postgres-"))
    try:
        if _is_root():  # PostgreSQL refuses to run as root
            shutil.chown(place, "postgres", "postgres")
        data = place / "data"
        if not (place / "data").exists():
            _run(binaries / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "-N")
        with _guarded_server(binaries, data, f"-p {chosen} -k {place} {OPTIONS}"):
            _run(binaries / "pg_isready", "-h", "127.0.0.1", "-p", chosen, "-t", "1", attempts=300)
            yield f"postgresql://postgres@127.0.0.1:{chosen}/postgres"
    finally:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _guarded_server(binaries: Path, data: Path, options: str) -> Generator[None]:
    """A server that stops when its input ends: on leaving, and also when the tests are killed."""
    script = f"{binaries}/postgres -D {data} {options} >{data}/log 2>&1 & read -r line; kill -QUIT $!; wait $!"
    server = subprocess.Popen([*_as_postgres(), "sh", "-c", script], stdin=subprocess.PIPE, cwd="/")
    try:
        yield
    finally:
        server.communicate(timeout=30)


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda file: int(file.parts[-3]))
    on_path = shutil.which("pg_ctl")
    if not found and on_path is None:
        raise ServerMissing("PostgreSQL is not installed (Debian: apt-get install postgresql).")
    return found[-1].parent if found else Path(str(on_path)).parent


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _as_postgres() -> list[str]:
    return ["runuser", "-u", "postgres", "--"] if _is_root() else []


def _run(*command: object, attempts: int = 1) -> None:
    words = [*_as_postgres(), *map(str, command)]
    output = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(0.1)
        done = subprocess.run(words, capture_output=True, cwd="/", timeout=90)
        if done.returncode == 0:
            return
        output = (done.stdout + done.stderr).decode(errors="replace")
    raise ServerMissing(f"{words} failed: {output[-500:]}")
