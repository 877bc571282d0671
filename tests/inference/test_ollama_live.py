"""The real Ollama, with a model of random weights: what we rely on in its protocol, and what becomes of a chat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from dataclasses import replace

import httpx
import pytest

from aegis.errors import ModelUnavailable
from inference import ChatMessage, Piece, WriteRequest
from inference.routing import RoutedWriter
from tests.inference.conftest import Routed
from tests.inference.test_writer_contract import REQUEST
from tests.servers import ServerMissing
from tests.servers.ollama_real import MODEL, VARIABLE, OllamaReal, running_server

pytestmark = pytest.mark.servers

SHORT = WriteRequest("q", REQUEST.passages, [ChatMessage("user", "Question: hello?")])


@pytest.fixture(scope="module")
def real() -> Generator[OllamaReal]:
    """One that can be stopped: a server that the variable names cannot."""
    try:
        with running_server() as server:
            yield server
    except ServerMissing as missing:
        pytest.skip(f"{missing} ({VARIABLE} does not help here: these tests stop their server.)")


def settings(real: OllamaReal, **more: object) -> dict[str, object]:
    return {"url": real.url, "model": MODEL, "num_ctx": 2048, "timeout": 240, "first_token_timeout": 120, **more}


async def answered(writer: RoutedWriter, request: WriteRequest = SHORT) -> list[Piece]:
    return [piece async for piece in writer.write(request)]


async def test_streaming_counts_and_time_to_the_first_token(real: OllamaReal, routed_writer: Routed) -> None:
    async with routed_writer(ollama=settings(real)) as writer:
        pieces = await answered(writer)
    assert len([piece for piece in pieces if piece.text]) > 3
    assert pieces[-1].model == f"{MODEL}:latest"
    assert pieces[-1].tokens_in > 0
    assert pieces[-1].tokens_out > 0
    assert pieces[0].waited is not None


async def test_leaving_ends_the_request_at_the_server(real: OllamaReal, routed_writer: Routed) -> None:
    """Its log has a line for each request when it ends: much sooner than the whole answer would have taken."""
    async with routed_writer(ollama=settings(real)) as writer:
        ended = real.log().count('POST     "/api/chat"')
        stream = writer.write(SHORT)
        await anext(stream)
        await stream.aclose()
        async with asyncio.timeout(5):
            while real.log().count('POST     "/api/chat"') == ended:  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.05)
        assert await answered(writer)


async def test_a_model_that_is_missing(real: OllamaReal, routed_writer: Routed) -> None:
    async with routed_writer(ollama=settings(real, model="llama3.2:3b")) as writer:
        assert "ollama pull llama3.2:3b" in writer.status().advice
        assert (await answered(writer))[-1].model == f"{MODEL}:latest"
        pool = next(iter(writer._sources)).pool  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(ModelUnavailable, match=r"has the model llama3\.2:3b"):
            await anext(pool.write(SHORT, "llama3.2:3b"))


async def test_a_model_that_has_to_be_loaded_first(real: OllamaReal, routed_writer: Routed) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        await client.post(f"{real.url}/api/generate", json={"model": MODEL, "keep_alive": 0})
        async with asyncio.timeout(10):
            while (await client.get(f"{real.url}/api/ps")).json()["models"]:  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.05)
        async with routed_writer(ollama=settings(real)) as writer:
            cold, warm = [(await answered(writer))[0].waited for _ in range(2)]
            status = writer.status()
    assert cold is not None
    assert warm is not None
    assert cold > warm
    assert status.servers[0].state == "up"


async def test_our_window_is_kept_so_that_the_model_is_not_loaded_again(
    real: OllamaReal, routed_writer: Routed
) -> None:
    async with routed_writer(ollama=settings(real)) as writer, httpx.AsyncClient(trust_env=False) as client:
        await answered(writer)
        loads = real.log().count("llama runner started")
        await answered(writer)
        assert real.log().count("llama runner started") == loads
        loaded = (await client.get(f"{real.url}/api/ps")).json()["models"]
    assert loaded[0]["context_length"] == 2048


async def test_embedding(real: OllamaReal) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        body = {"model": MODEL, "input": ["one text", "another"]}
        vectors = (await client.post(f"{real.url}/api/embed", json=body)).json()["embeddings"]
    assert len(vectors) == 2
    assert len(vectors[0]) == len(vectors[1]) > 8


async def test_restarted_in_the_middle(real: OllamaReal, routed_writer: Routed) -> None:
    """What was shown is kept and said to be incomplete; the next questions are answered meanwhile, then by it again."""
    async with routed_writer(ollama=settings(real, probe_interval=0.2)) as writer:
        stream = writer.write(SHORT)
        shown = [await anext(stream)]
        stopping = asyncio.create_task(asyncio.to_thread(real.stop))
        shown += [piece async for piece in stream]
        await stopping
        assert shown[-1].note.startswith("The answer may be incomplete") or shown[-1].tokens_out
        between = await answered(writer, REQUEST)
        assert between[-1].model == "extractive"
        assert between[-1].note
        await asyncio.to_thread(real.start)
        deadline = time.monotonic() + 15
        while writer.name == "extractive" and time.monotonic() < deadline:  # noqa: ASYNC110 - the prober's
            await asyncio.sleep(0.1)
        assert (await answered(writer, replace(SHORT)))[-1].model == f"{MODEL}:latest"
