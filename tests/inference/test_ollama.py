"""Every way an Ollama server can disappoint, and what becomes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import pytest

from aegis.errors import ModelFailed, ModelUnavailable
from aegis.settings import OllamaSettings
from inference import ChatMessage, Piece, WriteRequest
from inference.ollama import Model, OllamaWriter, open_server, pick, was_cut
from tests.servers.ollama import Fault, OllamaLike

REQUEST = WriteRequest("hello?", [], [ChatMessage("system", "Be brief."), ChatMessage("user", "Question: hello?")])
LONG = "one two three four five six seven eight nine ten"


@asynccontextmanager
async def writer(url: str, model: str = "llama3.2:3b", **settings: float) -> AsyncGenerator[OllamaWriter]:
    given = {"num_ctx": 2048, "timeout": 5.0, "first_token_timeout": 2.0} | settings
    opened = OllamaWriter(OllamaSettings.model_validate({"url": url, **given}), Model(model, chats=True))
    try:
        yield opened
    finally:
        await opened.close()


async def written(model: OllamaWriter, request: WriteRequest = REQUEST) -> list[str]:
    return [piece.text async for piece in model.write(request)]


async def test_streams_and_sends_the_window_with_every_call(ollama_like: OllamaLike) -> None:
    ollama_like.script = [LONG, LONG]
    async with writer(ollama_like.url) as model:
        assert "".join(await written(model)) == LONG
        await written(model)
    assert [call.body["options"]["num_ctx"] for call in ollama_like.chats] == [2048, 2048]
    assert ollama_like.chats[0].body["messages"][0] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("hang", ModelUnavailable, "in time"),
        ("error_500", ModelUnavailable, "runner process has terminated"),
        ("busy_429", ModelUnavailable, "busy"),
        ("garbage", ModelUnavailable, "form"),
        ("cut", ModelFailed, "broke"),
        ("garbage_midway", ModelFailed, "form"),
        ("error_midway", ModelFailed, "error"),
        ("hang_midway", ModelFailed, "in time"),
    ],
)
async def test_faults_become_our_errors(
    fault: Fault, error: type[Exception], says: str, ollama_like: OllamaLike
) -> None:
    ollama_like.fault, ollama_like.script = fault, [LONG]
    started = time.monotonic()
    async with writer(ollama_like.url, timeout=0.8, first_token_timeout=0.4) as model:
        with pytest.raises(error, match=says):
            await written(model)
    assert time.monotonic() - started < 3


async def test_refused(ollama_like: OllamaLike) -> None:
    ollama_like.stop()
    async with writer(ollama_like.url) as model:
        with pytest.raises(ModelUnavailable, match="refused"):
            await written(model)


async def test_a_missing_model_names_the_command(ollama_like: OllamaLike) -> None:
    ollama_like.models = {"other": ["completion"]}
    async with writer(ollama_like.url) as model:
        with pytest.raises(ModelUnavailable, match=r"ollama pull llama3\.2:3b"):
            await written(model)


async def test_a_prompt_cut_in_silence_is_noticed(ollama_like: OllamaLike) -> None:
    ollama_like.truncate_at = 500
    request = WriteRequest("q", [], [ChatMessage("user", "word " * 1000 + "\nQuestion: q?")])
    async with writer(ollama_like.url) as model:
        with pytest.raises(ModelFailed, match="read only 500 tokens"):
            await written(model, request)


def test_when_a_prompt_counts_as_cut() -> None:
    messages = [ChatMessage("user", "x" * 4000)]
    assert not was_cut(messages, 900, 2048)
    assert not was_cut(messages, 0, 2048)  # a server that does not count
    assert was_cut(messages, 2048, 2048)
    assert was_cut(messages, 300, 2048)


@pytest.mark.parametrize("closing", ["closed", "cancelled"])
async def test_stopping_stops_the_model(closing: str, ollama_like: OllamaLike) -> None:
    ollama_like.tokens_per_second, ollama_like.script = 20, [LONG * 10]
    async with writer(ollama_like.url) as model:
        pieces = model.write(REQUEST)
        if closing == "closed":
            async with aclosing(pieces):
                await anext(pieces)
        else:
            task = asyncio.create_task(_drained(pieces))
            await asyncio.sleep(0.4)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await _until_outcome(ollama_like, "cancelled")
    assert ollama_like.chats[0].tokens_sent < 20


async def test_what_a_server_has(ollama_like: OllamaLike) -> None:
    ollama_like.models = {
        "bge-m3": ["embedding"],
        "qwen3:8b": ["completion", "thinking"],
        "llama3.2:3b": ["completion"],
    }
    async with open_server(ollama_like.url) as server:
        models = await server.models()
    assert [(model.name, model.chats, model.thinks) for model in models] == [
        ("bge-m3", False, False),
        ("qwen3:8b", True, True),
        ("llama3.2:3b", True, False),
    ]
    assert pick(models, "llama3.2:3b") == models[2]
    assert pick(models, "missing") == models[1]
    assert pick(models[:1], "bge-m3") is None


async def test_another_server_on_the_port_is_no_ollama(ollama_like: OllamaLike) -> None:
    ollama_like.fault = "garbage"
    async with open_server(ollama_like.url) as server:
        with pytest.raises(ModelUnavailable, match="form"):
            await server.models()


@pytest.mark.servers
async def test_the_real_server_cuts_in_silence_and_we_notice(ollama_url: str) -> None:
    async with writer(ollama_url, "tiny", num_ctx=1024, timeout=240.0, first_token_timeout=240.0) as model:
        with pytest.raises(ModelFailed, match="cut"):
            await written(model, WriteRequest("q", [], [ChatMessage("user", "word " * 1500)]))


@pytest.mark.servers
async def test_the_real_server_lists_its_model(ollama_url: str) -> None:
    async with open_server(ollama_url) as server:
        models = await server.models()
    assert pick(models, "tiny") == Model("tiny:latest", chats=True, context=8192)


async def _drained(pieces: AsyncGenerator[Piece]) -> None:
    async for _ in pieces:
        pass


async def _until_outcome(server: OllamaLike, outcome: str) -> None:
    deadline = time.monotonic() + 3
    while server.chats[0].outcome != outcome and time.monotonic() < deadline:  # noqa: ASYNC110 - another thread's
        await asyncio.sleep(0.02)
    assert server.chats[0].outcome == outcome
