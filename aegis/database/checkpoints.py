"""SQLite's log is copied into its file by a thread of its own: a commit waits for its own bytes only.

Left to SQLite, every thousandth page of the log makes some commit copy all of them, and wait for the disk twice.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

EVERY = 1.0  # seconds
PASSES = 3  # what was written during one pass is copied by the next: an empty log starts again from its beginning
NO_CHECKPOINT = "wal_autocheckpoint=0"  # for those who write


class Checkpoints:
    """Started by `start`, ended by `stop`; in between `committed` tells it that there is something to copy."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._commits = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when a copy that is under way has ended."""
        self._end.set()
        self._commits.set()
        self._thread.join()

    def committed(self) -> None:
        self._commits.set()

    def _run(self) -> None:
        while self._commits.wait() and not self._end.wait(EVERY):
            self._commits.clear()
            try:
                _checkpoint(self._file)
            except sqlite3.Error:  # a full disk: the next commit says so; the log waits
                self._commits.set()


def _checkpoint(file: Path) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=FULL").close()
        for _ in range(PASSES):
            _, log, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if log == copied:
                return
    finally:
        connection.close()
