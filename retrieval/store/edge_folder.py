"""The folder of the embedded vector index: generations, and a pointer to the one in use.

    vectors/CURRENT              name of the generation in use, replaced atomically
    vectors/generation-000007/   shard/ (the engine's files), about.json, clean.json, sealed.json
    vectors.damaged-20260102T030405Z/   a folder set aside; the newest one is kept

A generation that CURRENT does not name is a build that was not finished, or one that was replaced.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from aegis.errors import IndexUnavailable


class Damaged(Exception):
    """What is there cannot be trusted; the message says why."""


class Generations:
    """All methods do file work: call them in a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def current(self) -> Path | None:
        """The generation in use; None when there is nothing yet. Raises Damaged."""
        try:
            name = (self.folder / "CURRENT").read_text("utf-8").strip()
        except FileNotFoundError:
            if self.folder.is_dir() and any(self.folder.glob("generation-*")):
                self._drop_unfinished_start()
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise Damaged(f"CURRENT cannot be read: {error}") from error
        path = self.folder / name
        if not name.startswith("generation-") or path.parent != self.folder or not path.is_dir():
            raise Damaged(f"CURRENT names {name[:60]!r}, which is not there")
        return path

    def _drop_unfinished_start(self) -> None:
        if (self.folder / "STARTED").exists():
            raise Damaged("CURRENT is missing")
        for path in self.folder.glob("generation-*"):  # killed while the very first one was made
            shutil.rmtree(path, ignore_errors=True)

    def fresh(self) -> Path:
        """A path for a new generation; nothing is there yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        numbers = [int(path.name[11:]) for path in self.folder.glob("generation-*") if path.name[11:].isdigit()]
        return self.folder / f"generation-{max(numbers, default=0) + 1:06d}"

    def switch(self, generation: Path) -> None:
        """Name this generation in CURRENT, durably."""
        pointer = self.folder / "CURRENT.new"
        with pointer.open("w", encoding="utf-8") as file:
            file.write(generation.name)
            file.flush()
            os.fsync(file.fileno())
        os.replace(pointer, self.folder / "CURRENT")
        (self.folder / "STARTED").touch()

    def remove(self, generation: Path) -> None:
        shutil.rmtree(generation, ignore_errors=True)  # what stays (open elsewhere) goes at the next start

    def remove_others(self, current: Path) -> None:
        for path in self.folder.glob("generation-*"):
            if path != current:
                self.remove(path)

    def set_aside(self) -> Path | None:
        """Move the whole folder away; earlier ones set aside are removed. Returns where it is."""
        if not self.folder.exists():
            return None
        for earlier in self.folder.parent.glob(f"{self.folder.name}.damaged-*"):
            shutil.rmtree(earlier, ignore_errors=True)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        target = self.folder.with_name(f"{self.folder.name}.damaged-{stamp}")
        try:
            self.folder.rename(target)
        except OSError as error:
            raise IndexUnavailable(
                f"the damaged vector index {self.folder} cannot be set aside: {error}; move it away by hand"
            ) from error
        return target
