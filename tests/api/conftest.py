"""A tiny app with one router and fakes, and a client of it; no test here opens an engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from aegis.settings import Settings
from api.app import configure, create_app


class FakeCatalogue:
    """The part of the catalogue that every request's scope is made from."""

    def __init__(self) -> None:
        self.names = frozenset({"default", "handbook"})
        self.at = 1

    async def epoch(self) -> int:
        return self.at

    async def collections(self) -> frozenset[str]:
        return self.names


class NoRecalls:
    """No saved answer rests on what has changed."""

    async def of(self, scope: Any, turn_ids: Any) -> dict[str, Any]:
        return {}


class NoGraphSize:
    """Nothing is counted."""

    async def tell(self) -> None:
        return None


@asynccontextmanager
async def closed(_app: FastAPI) -> AsyncGenerator[None]:
    yield


def served(*, answering: Any = None, settings: Settings | None = None, **services: Any) -> FastAPI:
    """The API with these services only."""
    settings = settings or Settings(_env_file=None)  # pyright: ignore[reportCallIssue]  # pydantic-settings' own
    app = create_app(lifespan=closed)
    configure(app, settings)
    fakes = {"settings": settings, "catalogue": FakeCatalogue(), "recalls": NoRecalls()}
    fakes |= {"graph_size": NoGraphSize()}
    app.state.services = SimpleNamespace(**{**fakes, **services})
    app.state.answering = answering
    return app


Open = Callable[..., Any]


@pytest.fixture
async def client_of() -> AsyncGenerator[Open]:
    """`await client_of(app)` or `await client_of(searcher=Fake())`: a client, closed at the end of the test."""
    async with AsyncExitStack() as stack:

        async def opened(app: FastAPI | None = None, **services: Any) -> httpx.AsyncClient:
            transport = httpx.ASGITransport(app or served(**services), raise_app_exceptions=False)
            return await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")
            )

        yield opened
