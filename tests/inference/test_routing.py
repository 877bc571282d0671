"""Servers that come, go and fail: somebody always answers, and the reader is told who and why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime

import pytest

from aegis.database import Database
from aegis.settings import OllamaSettings, Settings
from inference import Piece, WriteRequest
from inference.extractive import Embed
from inference.ollama_servers import survey
from inference.routing import RoutedWriter, budgets_of, open_writer
from tests.inference.test_writer_contract import REQUEST
from tests.servers.ollama import Fault, OllamaLike, running_ollama_like


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def server() -> Generator[OllamaLike]:
    with running_ollama_like(started=False) as made:
        yield made


@pytest.fixture
async def routed(server: OllamaLike, database: Database, embed: Embed) -> AsyncGenerator[RoutedWriter]:
    ollama = OllamaSettings(url=server.url, probe_interval=0.1, timeout=3, first_token_timeout=0.5)
    settings = Settings(ollama=ollama)
    async with open_writer(settings, budgets_of(settings, database, now), embed) as writer:
        yield writer


async def pieces(writer: RoutedWriter, request: WriteRequest = REQUEST) -> list[Piece]:
    return [piece async for piece in writer.write(request)]


async def named(writer: RoutedWriter, name: str) -> None:
    deadline = time.monotonic() + 3
    while writer.name != name and time.monotonic() < deadline:  # noqa: ASYNC110 - the writer has no event
        await asyncio.sleep(0.02)
    assert writer.name == name


async def test_answers_without_a_server_and_says_so(routed: RoutedWriter) -> None:
    written = await pieces(routed)
    assert "written in Rust. [1]" in "".join(piece.text for piece in written)
    assert written[-1].note.startswith("No language model is configured")
    status = routed.status()
    assert not status.reachable
    assert status.used is None
    assert "AEGIS_OLLAMA__URL" in status.advice


async def test_a_server_that_appears_is_used_and_one_that_dies_is_left(
    routed: RoutedWriter, server: OllamaLike
) -> None:
    await pieces(routed)
    server.start()
    await named(routed, "llama3.2:3b")
    written = await pieces(routed)
    assert written[-1].model == "llama3.2:3b"
    assert not any(piece.note for piece in written)
    assert routed.status().advice == ""
    server.stop()
    written = await pieces(routed)
    assert written[-1].model == "extractive"
    assert written[-1].note
    await named(routed, "extractive")


@pytest.mark.parametrize("fault", ["hang", "error_500", "busy_429"])
async def test_failing_before_the_first_piece_falls_back(
    fault: Fault, routed: RoutedWriter, server: OllamaLike
) -> None:
    server.start()
    server.fault = fault
    await named(routed, "llama3.2:3b")
    written = await pieces(routed)
    assert "Rust" in "".join(piece.text for piece in written)
    assert written[-1].model == "extractive"
    assert "llama3.2:3b" in written[-1].note


@pytest.mark.parametrize("fault", ["cut", "error_midway", "garbage_midway"])
async def test_a_stream_broken_midway_ends_with_what_was_shown(
    fault: Fault, routed: RoutedWriter, server: OllamaLike
) -> None:
    server.start()
    server.fault, server.script = fault, ["alpha beta gamma delta"]
    await named(routed, "llama3.2:3b")
    written = await pieces(routed)
    assert "".join(piece.text for piece in written) == "alpha beta"
    assert "incomplete" in written[-1].note


async def test_another_model_is_used_and_named(routed: RoutedWriter, server: OllamaLike) -> None:
    server.models = {"bge-m3": ["embedding"], "qwen3:4b": ["completion"]}
    server.start()
    await named(routed, "qwen3:4b")
    assert routed.status().models == ("qwen3:4b",)
    assert "AEGIS_OLLAMA__MODEL=qwen3:4b" in routed.status().advice
    server.models["llama3.2:3b"] = ["completion"]
    await named(routed, "llama3.2:3b")


async def test_a_server_without_a_chat_model_says_what_to_pull(routed: RoutedWriter, server: OllamaLike) -> None:
    server.models = {"bge-m3": ["embedding"]}
    server.start()
    await routed.look()
    assert "ollama pull llama3.2:3b" in routed.status().advice
    assert "ollama pull" in (await pieces(routed))[-1].note


async def test_stopping_a_routed_answer_stops_the_model(routed: RoutedWriter, server: OllamaLike) -> None:
    server.start()
    server.tokens_per_second, server.script = 20, ["word " * 200]
    await named(routed, "llama3.2:3b")
    stream = routed.write(REQUEST)
    await anext(stream)
    await stream.aclose()
    await asyncio.sleep(0.3)
    assert server.chats[0].outcome == "cancelled"


async def test_survey_finds_the_server_elsewhere(server: OllamaLike, monkeypatch: pytest.MonkeyPatch) -> None:
    server.start()
    monkeypatch.setattr("inference.ollama_servers.OTHER_ADDRESSES", (server.url,))
    configured, other = await survey(OllamaSettings(url="http://127.0.0.1:9"))
    assert not configured.reachable
    assert other.advice == f"Set AEGIS_OLLAMA__URL={server.url}"
