"""`aegis ingest --watch`: what changes in folders is taken in, until Ctrl-C."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aegis.errors import AegisError

SETTLED = 1000  # milliseconds without a change before what changed is looked at: files are written in pieces
AGAIN = 2000  # milliseconds until what could not be taken in is tried again


def follow(paths: Sequence[Path], form: Mapping[str, Any], *, prune: bool, as_json: bool) -> None:
    """A server that is away is waited for; what changed meanwhile is not forgotten."""
    from aegis.cli.output import errors

    try:
        asyncio.run(_follow(paths, form, prune, as_json))
    except KeyboardInterrupt:
        errors.print("No longer watching.")


async def _follow(paths: Sequence[Path], form: Mapping[str, Any], prune: bool, as_json: bool) -> None:
    from watchfiles import awatch

    from aegis.cli.output import errors, line

    # Everything once more when the watch has begun: something may have changed until then.
    waiting, begun = set(paths), False
    async for changes in awatch(*paths, step=200, debounce=SETTLED, rust_timeout=AGAIN, yield_on_timeout=True):
        waiting |= {Path(name) for _, name in changes if not _hidden(Path(name), paths)}
        if waiting and await asyncio.to_thread(_taken, paths, sorted(waiting), form, prune, as_json):
            waiting.clear()
        if not begun:
            begun = True
            errors.print(f"Watching {line(', '.join(map(str, paths)))}; Ctrl-C ends it.", markup=False)


def _taken(paths: Sequence[Path], changed: Sequence[Path], form: Mapping[str, Any], prune: bool, as_json: bool) -> bool:
    """False when it has to be tried again."""
    from aegis.cli.gathering import known_files
    from aegis.cli.sending import shown, take_in

    gone = prune and any(not path.exists() or path in paths for path in changed)
    files = [*known_files(changed), *(path for path in changed if path in paths)]
    if not (files or gone):
        return True
    try:
        report = take_in([*files, *(paths if gone else ())], form, prune=gone, quiet=True)
    except AegisError as error:
        print(error.message, file=sys.stderr)
        return False
    if report["unchanged"] < report["files"] or report["removed"]:
        shown(report, as_json=as_json)
    return True


def _hidden(path: Path, watched: Sequence[Path]) -> bool:
    """Inside what is watched: a watched folder may itself lie in a hidden one."""
    for place in watched:
        if path.is_relative_to(place.absolute()):
            return any(part.startswith(".") for part in path.relative_to(place.absolute()).parts)
    return False
