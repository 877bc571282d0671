"""How commands reach the store: through the server that owns the data folder, or through the same API in process."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from aegis.errors import AegisError, FolderInUse, InvalidInput, Unavailable
from aegis.folder import Owner, current_owner, in_use
from aegis.settings import Settings

if TYPE_CHECKING:
    from aegis.services import Services

PATIENCE = 30.0  # seconds a command waits for another command, or for a server that is starting
LOOK = 0.2  # seconds between looks at who owns the folder
TIMEOUT = httpx.Timeout(600, connect=5)


class Refused(AegisError):
    """The API answered with an error; its code and message are passed on."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # pyright: ignore[reportAttributeAccessIssue]  # the API's own code, per instance


@asynccontextmanager
async def connect(settings: Settings, command: str) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the API. Without a running server the API is opened in this process, owning the folder.

    Raises FolderInUse, naming the owner, when another command keeps the folder longer than PATIENCE.
    """
    async with AsyncExitStack() as stack:
        yield await _connected(stack, settings, command)


async def _connected(stack: AsyncExitStack, settings: Settings, command: str) -> httpx.AsyncClient:
    until, told = time.monotonic() + PATIENCE, False
    while True:
        owner = current_owner(settings.folder)
        if owner is None:
            try:
                return await _in_process(stack, settings, command)
            except FolderInUse:  # another was quicker
                if time.monotonic() > until:
                    raise
        elif owner.url and await _answers(owner):
            client = httpx.AsyncClient(base_url=owner.url, timeout=TIMEOUT, trust_env=False)
            return await stack.enter_async_context(client)
        elif time.monotonic() > until:
            raise in_use(settings.folder, owner)
        elif not told:
            told = True
            print(f"Waiting up to {PATIENCE:g} s for {owner}, which uses {settings.folder} ...", file=sys.stderr)
        await asyncio.sleep(LOOK)


async def _answers(owner: Owner) -> bool:
    """False while the server is starting, or when it hangs."""
    try:
        async with httpx.AsyncClient(base_url=owner.url, timeout=5, trust_env=False) as client:
            return (await client.get("/health")).is_success
    except httpx.TransportError:
        return False


async def _in_process(stack: AsyncExitStack, settings: Settings, command: str) -> httpx.AsyncClient:
    from aegis.telemetry import configure_logging
    from api.app import create_app, opened  # here, because it takes seconds

    configure_logging("warning")  # before WordLlama is imported, which otherwise makes every library talk
    app = create_app()
    await stack.enter_async_context(opened(app, settings, command=command))
    await app.state.services.prepared()  # on an empty folder the samples come first
    transport = httpx.ASGITransport(app)
    return await stack.enter_async_context(
        httpx.AsyncClient(transport=transport, base_url=settings.address, timeout=TIMEOUT)
    )


async def call(client: httpx.AsyncClient, method: str, path: str, **arguments: Any) -> Any:
    """The answer's JSON. Raises Refused with the API's own words, Unavailable when nobody answers."""
    try:
        response = await client.request(method, path, **arguments)
    except httpx.TransportError as error:
        raise Unavailable(
            f"The server at {client.base_url} does not answer ({error or type(error).__name__}). Is it still running? "
            "What it had accepted goes on when it is started again."
        ) from error
    if response.is_success:
        return response.json() if response.content else None
    raise _refused(response.status_code, response.content)


def _refused(status: int, body: bytes) -> Refused:
    try:
        error = json.loads(body)["error"]
        return Refused(error["code"], error["message"])
    except (ValueError, KeyError, TypeError):
        return Refused("internal", f"The server answered {status} without saying why.")


def in_this_process() -> Services | None:
    """What `connect` has opened here; None where a server does the work."""
    from aegis.services import current

    try:
        return current()
    except Unavailable:
        return None


async def saved(
    client: httpx.AsyncClient,
    path: str,
    file: Path | None,
    progress: Callable[[int], None] = lambda _: None,
    **arguments: Any,
) -> int:
    """Write an answer to a file as it comes, or to standard output; how many bytes. Raises Refused, Unavailable.

    The file is there whole or not at all.
    """
    try:
        async with client.stream("GET", path, **arguments) as response:
            if not response.is_success:
                raise _refused(response.status_code, await response.aread())
            return await _written(response.aiter_bytes(), file, progress)
    except httpx.TransportError as error:
        raise Unavailable(f"The server at {client.base_url} stopped in the middle: {error}. Try again.") from error


async def _written(pieces: AsyncIterator[bytes], file: Path | None, progress: Callable[[int], None]) -> int:
    if file is None:
        size = 0
        async for piece in pieces:
            size += sys.stdout.buffer.write(piece)
        return size
    return await write_whole(pieces, file, progress)


async def write_whole(
    pieces: AsyncIterator[bytes], file: Path, progress: Callable[[int], None] = lambda _: None
) -> int:
    """Beside the file first, then in its place. Raises InvalidInput when it cannot be written."""
    beside, size = file.with_name(f".{file.name}.part"), 0
    try:
        with beside.open("wb") as out:
            async for piece in pieces:
                size += out.write(piece)
                progress(size)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(file)
    except OSError as error:
        raise InvalidInput(
            f"{file} cannot be written: {error.strerror}. Free some space or name another file."
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    return size


def run(command: str, work: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    """Run `work` with a connected client; for the bodies of commands."""

    async def connected() -> Any:
        async with connect(Settings(), command) as client:
            return await work(client)

    return asyncio.run(connected())
