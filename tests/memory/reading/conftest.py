"""A library of documents, a server that stands for a model, and the reader between them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import memory.facts  # noqa: F401  # pyright: ignore[reportUnusedImport]  # quietens Graphiti before it is imported
from aegis.database import Database
from aegis.database.outbox import Outbox
from aegis.scope import DEFAULT_COLLECTION, LOCAL_USER, Scope
from aegis.settings import ExtractionSettings, Settings
from inference.routing import budgets_of, open_writer
from memory.reading.quarantine import Quarantine
from memory.reading.queue import ReadingQueue
from memory.reading.reader import ModelReader
from retrieval.catalogue import Catalogue
from retrieval.embedding.wordllama import load_wordllama
from tests.memory.library import Library
from tests.servers.ollama import OllamaLike, running_ollama_like

SCOPE = Scope(LOCAL_USER, frozenset({DEFAULT_COLLECTION}))
NOBODY = "http://127.0.0.1:9"
Edge = tuple[str, str, str, str]  # subject, relation, object, the fact in the model's words


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 25, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Script:
    """What the model says of a passage, by a word that the passage holds; of others it says nothing."""

    edges: Mapping[str, Sequence[Edge]] = field(default_factory=dict[str, Sequence[Edge]])
    garbage: list[str] = field(default_factory=list[str])  # said first
    asked: list[str] = field(default_factory=list[str])

    def __call__(self, body: dict[str, Any]) -> str:
        schema = body.get("format") or (body.get("response_format") or {}).get("json_schema", {}).get("schema", {})
        self.asked.append(schema.get("title", ""))
        if self.garbage:
            return self.garbage.pop(0)
        return json.dumps(self._answer(schema, "\n".join(str(message["content"]) for message in body["messages"])))

    def _answer(self, schema: dict[str, Any], prompt: str) -> dict[str, Any]:
        found = [edge for word, edges in self.edges.items() if re.search(rf"\b{word}\b", prompt) for edge in edges]
        if schema["title"] == "ExtractedEntities":
            names = dict.fromkeys(name for edge in found for name in (edge[0], edge[2]))
            return {"extracted_entities": [{"name": name, "entity_type_id": 0} for name in names]}
        if schema["title"] == "ExtractedEdges":
            return {
                "edges": [
                    {"source_entity_name": subject, "relation_type": relation, "target_entity_name": object_}
                    | {"fact": text, "valid_at": "2026-01-01T00:00:00Z", "invalid_at": None}
                    for subject, relation, object_, text in found
                ]
            }
        return {name: [] for name in schema.get("required", ())}


Opened = Callable[..., AbstractAsyncContextManager[ModelReader]]


@asynccontextmanager
async def open_reader(
    database: Database, clock: Callable[[], datetime], holder: str = "test", **sections: Any
) -> AsyncGenerator[ModelReader]:
    ollama = {"url": NOBODY, "probe_interval": 0.1, "timeout": 5, "first_token_timeout": 5}
    settings = Settings.model_validate({**sections, "ollama": ollama | sections.get("ollama", {})})
    catalogue = Catalogue(database)
    async with open_writer(settings, budgets_of(settings, database, clock), load_wordllama().embed) as writer:
        await writer.look()
        yield ModelReader(
            settings=ExtractionSettings(enabled=True),
            database=database,
            epoch=catalogue,
            outbox=Outbox(database),
            models=writer,
            queue=ReadingQueue(database, holder, clock),
            quarantine=Quarantine(database, catalogue, Outbox(database), clock),
            index=None,
            leases=None,
            now=clock,
            may_send=settings.cloud.may_send,
            collections=catalogue.collections,
            turn=_at_once,
        )


async def _at_once() -> None:
    return None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def model(script: Script) -> Generator[OllamaLike]:
    """In Ollama's protocol."""
    with running_ollama_like() as server:
        server.models = {"gemma3:4b": ["completion"]}
        server.tokens_per_second, server.responds = 0, script
        yield server


@pytest.fixture
def library(any_database: Database) -> Library:
    return Library(any_database)


@pytest.fixture
async def reader(any_database: Database, clock: Clock, model: OllamaLike) -> AsyncGenerator[ModelReader]:
    async with open_reader(any_database, clock, ollama={"url": model.url}) as opened:
        yield opened
