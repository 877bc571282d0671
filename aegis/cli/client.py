"""How commands reach the store: through the server that owns the data folder, or through the same API in process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from aegis.errors import AegisError, Unavailable
from aegis.folder import current_owner
from aegis.settings import Settings

PATIENCE = 30.0  # seconds a command waits for another command that owns the folder
TIMEOUT = httpx.Timeout(600, connect=5)


class Refused(AegisError):
    """The API answered with an error; its code and message are passed on."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # pyright: ignore[reportAttributeAccessIssue]  # the API's own code, per instance


@asynccontextmanager
async def connect(settings: Settings, command: str) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the API. Without a running server the API is opened in this process, owning the folder."""
    owner = current_owner(settings.folder)
    if owner is not None and owner.url:
        async with httpx.AsyncClient(base_url=owner.url, timeout=TIMEOUT, trust_env=False) as client:
            yield client
        return
    from aegis.telemetry import configure_logging
    from api.app import create_app, opened  # here, because it takes seconds

    configure_logging("warning")  # before WordLlama is imported, which otherwise makes every library talk
    app = create_app()
    async with opened(app, settings, command=command, patience=PATIENCE):
        await app.state.services.prepared()  # on an empty folder the samples come first
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=settings.address, timeout=TIMEOUT) as client:
            yield client


async def call(client: httpx.AsyncClient, method: str, path: str, **arguments: Any) -> Any:
    """The answer's JSON. Raises Refused with the API's own words, Unavailable when nobody answers."""
    try:
        response = await client.request(method, path, **arguments)
    except httpx.TransportError as error:
        raise Unavailable(f"The server at {client.base_url} does not answer ({error}). Is it still running?") from error
    if response.is_success:
        return response.json() if response.content else None
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        raise Refused("internal", f"The server answered {response.status_code} without saying why.") from None
    raise Refused(error["code"], error["message"])


def run(command: str, work: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    """Run `work` with a connected client; for the bodies of commands."""

    async def connected() -> Any:
        async with connect(Settings(), command) as client:
            return await work(client)

    return asyncio.run(connected())
