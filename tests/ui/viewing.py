"""Somebody looking at a small server: real conversations, nothing else."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, TypeVar

from starlette.types import Message, Receive, Send
from starlette.types import Scope as Asgi

from aegis.database import Database
from aegis.scope import Scope
from memory.conversations import Citation
from memory.conversations.store import SqlConversations
from tests.api.conftest import FakeCatalogue
from ui.viewer import Viewed

LOCAL = Scope("local", frozenset({"default"}))
Result = TypeVar("Result")
OTHER = Scope("somebody", frozenset({"default"}))


class Clock:
    """A second passes whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 1_800_000_000

    def __call__(self) -> datetime:
        self.now += 1
        return datetime.fromtimestamp(self.now, UTC)


class FakeAnswering:
    """Runs under way by conversation."""

    def __init__(self) -> None:
        self.runs: dict[str, Any] = {}

    def running(self, scope: Scope, conversation_id: str) -> Any:
        return self.runs.get(conversation_id)


def store(database: Database) -> SqlConversations:
    return SqlConversations(database, Clock())


class Viewer:
    """Runs work as the page's application would, within a connection to a server that has these services open."""

    def __init__(self, **opened: Any) -> None:
        services = SimpleNamespace(**{"catalogue": FakeCatalogue(), **opened})
        self.answering = opened.get("answering") or FakeAnswering()
        self.app = SimpleNamespace(state=SimpleNamespace(services=services, answering=self.answering))

    async def __call__(self, work: Awaitable[Result]) -> Result:
        result = list[Result]()

        async def inside(scope: Asgi, receive: Receive, send: Send) -> None:
            result.append(await work)

        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None: ...

        await Viewed(inside)({"type": "websocket", "path": "/chat", "headers": [], "app": self.app}, receive, send)
        return result[0]


def citation(marker: int, start: int, quote: str) -> Citation:
    return Citation(
        marker, "d1", "v1", "c1", "upload:a.md", "<b>Title</b>", start, start + len(quote), quote, 1.0, "3", "H"
    )
