"""SQLite's log is copied into its file by a thread of its own: a commit waits for its own bytes only.

Left to SQLite, every thousandth page of the log makes some commit copy all of them, and wait for the disk twice.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

EVERY = 1.0  # seconds
PASSES = 3  # what was written during one pass is copied by the next: an empty log starts again from its beginning
LONG = 10_000  # pages of 4 KB, above which writers are held for the last few of them, and the log is cut
TRIES = 20  # to find a moment between two writers, and without a reader of what is older
PATIENCE = 0.02  # seconds for which one try may hold the writers up
NO_CHECKPOINT = "wal_autocheckpoint=0"  # for those who write

logger = logging.getLogger(__name__)


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
        failed = False
        while self._commits.wait() and not self._end.wait(EVERY):
            self._commits.clear()
            try:
                _checkpoint(self._file)
                failed = False
            except sqlite3.Error as error:  # nothing is lost: it stays in the log, and is tried again
                if not failed:
                    logger.warning("SQLite's log cannot be copied into its file and grows meanwhile: %s", error)
                failed = True
                self._commits.set()


def _checkpoint(file: Path) -> None:
    place = f"{file.resolve().as_uri()}?mode=rw"  # a file that is not there is not made
    with closing(sqlite3.connect(place, uri=True, timeout=PATIENCE, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=FULL").close()
        log = 0
        for _ in range(PASSES):
            _, log, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if log == copied:
                break
        for _ in range(TRIES if log > LONG else 0):
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return
            time.sleep(PATIENCE)
