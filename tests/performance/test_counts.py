"""What one request costs in what cannot be noise: statements, bytes, calls of the model, memory taken for it.

A regression shows here on any machine, however busy. AEGIS_ARTEFACTS: a folder that the numbers are written to.
"""

from __future__ import annotations

import json
import os
import tracemalloc
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, event

from aegis.settings import Settings
from api.app import create_app, opened
from tests.performance.inside import ingested, within
from tests.servers.ollama import running_ollama_like

QUESTIONS = ("What is the outbox for?", "How are citations verified?", "What does a backup hold?")
MOST = {  # of one request, once everything is warm
    "search": {"reads": 0, "writes": 0, "model calls": 0, "bytes": 10_000, "memory kB": 2_600},
    "chat": {"reads": 4, "writes": 9, "model calls": 1, "bytes": 2_500, "memory kB": 4_600},
    "cached chat": {"reads": 4, "writes": 9, "model calls": 0, "bytes": 2_500, "memory kB": 3_000},
}

_counted: ContextVar[Counter[str] | None] = ContextVar("counted", default=None)


@pytest.fixture
def statements() -> Generator[None]:
    """Those that a request leads to, not what runs beside it."""

    def seen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        counter = _counted.get()
        if counter is not None:
            counter["reads" if statement.startswith("SELECT") else "writes"] += 1

    event.listen(Engine, "before_cursor_execute", seen)
    yield
    event.remove(Engine, "before_cursor_execute", seen)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncGenerator[tuple[httpx.AsyncClient, Any]]:
    """A client of the whole application on the sample corpus, with a model server."""
    with running_ollama_like() as models:
        given: dict[str, Any] = {
            "data_dir": tmp_path / "var",
            "ollama": {"url": f"http://127.0.0.1:{models.port}", "model": "llama3.2:3b"},
        }
        settings = Settings(_env_file=None, **given)  # pyright: ignore[reportCallIssue]  # pydantic-settings' own
        app = create_app()
        async with opened(app, settings), within(app) as client:
            await ingested(client)
            yield client, models


@contextmanager
def _costs(models: Any, into: dict[str, int]) -> Generator[Counter[str]]:
    counter: Counter[str] = Counter()
    token, before = _counted.set(counter), len(models.chats)
    tracemalloc.start()
    try:
        yield counter
        into["memory kB"] = max(into.get("memory kB", 0), tracemalloc.get_traced_memory()[1] // 1000)
    finally:
        tracemalloc.stop()
        _counted.reset(token)
    counted = {"reads": counter["reads"], "writes": counter["writes"], "model calls": len(models.chats) - before}
    into.update({name: max(into.get(name, 0), count) for name, count in counted.items()})


async def test_what_a_request_costs(served: tuple[httpx.AsyncClient, Any], statements: None) -> None:
    client, models = served
    found: dict[str, dict[str, int]] = {name: {} for name in MOST}
    for round_ in ("first", "warm"):  # what is made once is made by the first
        for question in QUESTIONS:
            await _ask(client, models, "search", {"query": question}, found["search"])
            await _ask(client, models, "chat", {"question": question, "fresh": True}, found["chat"])
            await _ask(client, models, "cached chat", {"question": question}, found["cached chat"])
        if round_ == "first":
            found = {name: {} for name in MOST}
    _kept(found)
    over = [
        f"{kind}: {count} {name}, {MOST[kind][name]} allowed"
        for kind, counts in found.items()
        for name, count in counts.items()
        if count > MOST[kind][name]
    ]
    assert not over, over
    assert found["chat"]["model calls"] == 1
    assert found["cached chat"]["reads"] <= found["chat"]["reads"]
    assert found["cached chat"]["writes"] < found["chat"]["writes"]


async def _ask(client: httpx.AsyncClient, models: Any, kind: str, body: dict[str, Any], into: dict[str, int]) -> None:
    path = "/api/v1/retrieval/search" if kind == "search" else "/api/v1/chat"
    with _costs(models, into):
        answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    into["bytes"] = max(into.get("bytes", 0), len(answer.content))


def _kept(found: dict[str, dict[str, int]]) -> None:
    folder = os.environ.get("AEGIS_ARTEFACTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "counts.json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    print(json.dumps(found))  # noqa: T201 - figures
