"""A real PostgreSQL on a free loopback port, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import ServerMissing, free_port

VARIABLE = "AEGIS_TEST_POSTGRES_URL"

# Nothing here must survive a crash, so nothing waits for the disk.
OPTIONS = "-c listen_addresses=127.0.0.1 -c fsync=off -c synchronous_commit=off -c full_page_writes=off"


@contextmanager
def running_postgres() -> Generator[str]:
    """Its address. Raises ServerMissing where there is no PostgreSQL."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="aegis-postgres-"))
    port = free_port()
    try:
        if _is_root():  # PostgreSQL refuses to run as root
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        _run(binaries / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "-N")
        log = folder / "log"
        options = f"-p {port} -k {folder} {OPTIONS}"
        _run(binaries / "pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "-t", "60", "start")
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            _run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda file: int(file.parts[-3]))
    on_path = shutil.which("pg_ctl")
    if not found and on_path is None:
        raise ServerMissing("PostgreSQL is not installed (Debian: apt-get install postgresql).")
    return found[-1].parent if found else Path(str(on_path)).parent


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    if _is_root():
        words = ["runuser", "-u", "postgres", "--", *words]
    # Output to a file, not a pipe: the server inherits it and would keep a pipe open.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(words, stdout=output, stderr=subprocess.STDOUT, cwd="/", timeout=90)
        output.seek(0)
        if done.returncode != 0:
            raise ServerMissing(f"{words} failed: {output.read().decode(errors='replace')[-500:]}")
