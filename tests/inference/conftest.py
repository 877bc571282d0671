"""The real embedder, servers that speak both protocols, and writers over them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from aegis.database import Database
from aegis.settings import Settings
from inference.extractive import Embed
from inference.routing import RoutedWriter, budgets_of, open_writer
from retrieval.embedding.wordllama import load_wordllama
from tests.servers.openai import OpenAILike, running_openai_like

Routed = Callable[..., AbstractAsyncContextManager[RoutedWriter]]
PRICES = {"gpt-4o-mini": [0.2, 0.8], "qwen-plus": [0.5, 1.5]}  # made up
NOBODY = "http://127.0.0.1:9"  # the discard port: no model server is there


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="session")
def embed() -> Embed:
    return load_wordllama().embed


@pytest.fixture
def openai_like() -> Generator[OpenAILike]:
    with running_openai_like() as server:
        yield server


@pytest.fixture
def routed_writer(database: Database, embed: Embed) -> Routed:
    """Opens the whole routing with the given settings, by section, as the environment would give them."""

    @asynccontextmanager
    async def opened(**sections: Any) -> AsyncGenerator[RoutedWriter]:
        ollama = {"url": NOBODY, "probe_interval": 0.1, "timeout": 5, "first_token_timeout": 1}
        given = {**sections, "ollama": ollama | sections.get("ollama", {})}
        settings = Settings.model_validate(given)
        async with open_writer(settings, budgets_of(settings, database, now), embed) as writer:
            await writer.look()
            yield writer

    return opened
