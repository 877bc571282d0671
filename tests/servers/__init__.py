"""Real servers for tests: each module has a context manager that starts one and always stops it.

A starter raises `ServerMissing` where the server cannot be had; the fixtures turn that into a skip which names the
variable that would point to a running one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

# Test servers find what they downloaded here the next time.
CACHE_VARIABLE = "AEGIS_TEST_CACHE"


class ServerMissing(Exception):
    """This server cannot be started here; the message says what is missing."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cache_folder(name: str) -> Path:
    folder = Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "aegis-test") / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def alone(folder: Path) -> Generator[None]:
    """One process at a time fetches or builds what a cache folder is to hold; others wait, and find it there."""
    with FileLock(folder / "lock"):
        yield
