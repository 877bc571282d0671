"""`aegis backup` and `aegis restore`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PIECE = 1 << 20  # bytes sent at a time


def backup(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write it.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    from aegis.cli.client import run
    from aegis.cli.output import print_json
    from aegis.errors import Conflict

    if file.exists() and not force:
        raise Conflict(f"{file} is there already. Name another file, or add --force.")

    async def work(client: httpx.AsyncClient) -> int:
        return await _written(client, file, quiet=as_json)

    size = run("backup", work)
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        print(f"Backed up to {file}, {size / 1e6:.1f} MB.")


def restore(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A file that `aegis backup` wrote.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    from aegis.cli.client import run
    from aegis.cli.output import print_json
    from aegis.errors import DataFolderError

    if not yes:
        typer.confirm("Replace everything in the store by this backup?", abort=True)

    size = file.stat().st_size

    async def work(client: httpx.AsyncClient) -> Any:
        return await _restored(client, file, size, quiet=as_json)

    state = run("restore", work)
    if state["phase"] == "failed":
        raise DataFolderError(f"Nothing was restored: {state['message']}")
    if as_json:
        print_json(state)
    else:
        print(f"Restored: {state['total']} rows. {state['message']}")


async def _written(client: httpx.AsyncClient, file: Path, *, quiet: bool) -> int:
    from rich.progress import DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    from aegis.backup.writing import backed_up
    from aegis.cli.client import in_this_process, saved, write_whole
    from aegis.cli.output import errors

    columns = (TextColumn("{task.description}"), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, disable=quiet) as progress:
        bar = progress.add_task("Backing up", total=None)

        def show(size: int) -> None:
            progress.update(bar, completed=size)

        if services := in_this_process():  # the client would gather the whole answer in memory
            return await write_whole(backed_up(services.database, services.blobs), file, show)
        return await saved(client, "/api/v1/admin/backup", file, show, headers=_operator())


async def _restored(client: httpx.AsyncClient, file: Path, size: int, *, quiet: bool) -> Any:
    from rich.progress import Progress

    from aegis.cli.client import call
    from aegis.cli.output import errors

    place = "/api/v1/admin/restore"
    with Progress(console=errors, disable=quiet) as progress:
        bar = progress.add_task("Sending", total=size)
        pieces = _pieces(file, partial(_move, progress, bar))
        headers = {"Content-Type": "application/zip", **_operator()}
        state = await call(client, "POST", place, content=pieces, headers=headers)
        while state["running"]:
            await asyncio.sleep(0.2)
            state = await call(client, "GET", place)
            phase, total = str(state["phase"]).capitalize(), float(state["total"]) or None
            progress.update(bar, description=phase, total=total, completed=state["done"])
    return state


def _operator() -> dict[str, str]:
    from aegis.folder import OPERATOR_HEADER, operator_key
    from aegis.settings import Settings

    return {OPERATOR_HEADER: operator_key(Settings().folder)}


def _move(progress: Progress, bar: TaskID, size: int) -> None:
    progress.update(bar, completed=size)


async def _pieces(file: Path, show: Callable[[int], None]) -> AsyncIterator[bytes]:
    sent = 0
    with file.open("rb") as opened:
        while piece := await asyncio.to_thread(opened.read, PIECE):
            yield piece
            sent += len(piece)
            show(sent)
