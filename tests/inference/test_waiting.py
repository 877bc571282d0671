"""A server that says when to come back is left alone until then, and nobody waits for it meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from aegis.errors import ModelBusy
from aegis.settings import OllamaSettings
from inference import Piece
from inference.ollama_servers import open_servers
from inference.waiting import LONGEST, retry_after
from tests.inference.conftest import Routed
from tests.inference.test_writer_contract import REQUEST
from tests.servers.ollama import OllamaLike

MODEL = "llama3.2:3b"


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-4", 0.0),
        ("99999", LONGEST),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_seconds(told: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": told}) == seconds


def test_a_date() -> None:
    at = datetime.now(UTC) + timedelta(seconds=90)
    told = retry_after({"retry-after": format_datetime(at, usegmt=True)})
    assert told is not None
    assert 80 < told <= 90
    assert retry_after({"retry-after": format_datetime(at - timedelta(days=1), usegmt=True)}) == 0.0
    assert retry_after({}) is None


def settings(server: OllamaLike, **more: float) -> OllamaSettings:
    return OllamaSettings.model_validate({"url": server.url, "probe_interval": 0.2, **more})


async def test_an_ollama_server_is_left_alone_for_as_long_as_it_asks(ollama_like: OllamaLike) -> None:
    ollama_like.fault, ollama_like.retry_after = "busy_429", 1.5
    async with open_servers(settings(ollama_like)) as servers:
        await servers.look()
        began = time.monotonic()
        waiting = asyncio.create_task(_answer(servers.here.write(REQUEST, MODEL)))
        while not ollama_like.chats:  # noqa: ASYNC110 - another thread's
            await asyncio.sleep(0.01)
        ollama_like.fault = ""
        assert await waiting
        assert time.monotonic() - began >= 1.5
    assert len(ollama_like.chats) == 2
    assert servers.here.members[0].circuit.closed


async def test_nobody_waits_for_a_server_that_asks_for_longer(ollama_like: OllamaLike) -> None:
    ollama_like.fault, ollama_like.retry_after = "busy_429", 300
    async with open_servers(settings(ollama_like, queue_timeout=60)) as servers:
        await servers.look()
        async with asyncio.timeout(30):
            with pytest.raises(ModelBusy, match="429"):
                await _answer(servers.here.write(REQUEST, MODEL))
            with pytest.raises(ModelBusy, match="asked to be left alone"):
                await _answer(servers.here.write(REQUEST, MODEL))
    assert len(ollama_like.chats) == 1


async def test_the_reader_gets_another_answer_meanwhile(ollama_like: OllamaLike, routed_writer: Routed) -> None:
    ollama_like.fault, ollama_like.retry_after = "busy_429", 300
    async with routed_writer(ollama={"url": ollama_like.url, "queue_timeout": 60}) as writer, asyncio.timeout(30):
        for _ in range(2):
            assert [piece async for piece in writer.write(REQUEST)][-1].model == "extractive"
    assert len(ollama_like.chats) == 1


async def _answer(pieces: AsyncGenerator[Piece]) -> str:
    return "".join([piece.text async for piece in pieces])
