"""What every Writer keeps: pieces in order, a last one with the counts, a name, and an end when it is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from aegis.settings import OllamaSettings
from inference import ChatMessage, Passage, Writer, WriteRequest
from inference.extractive import Embed, ExtractiveWriter
from inference.ollama import Model, OllamaWriter
from tests.servers.ollama_real import MODEL

QUESTION = "What is Qdrant written in?"
TEXT = "Qdrant is a vector search engine. Qdrant is written in Rust."

REQUEST = WriteRequest(
    QUESTION,
    [Passage(1, "c1", "Qdrant", TEXT, 0, 1.0)],
    [
        ChatMessage("system", "Answer from the evidence."),
        ChatMessage("user", f'<evidence id="1" title="Qdrant">\n{TEXT}\n</evidence>\n\nQuestion: {QUESTION}'),
    ],
)


@pytest.fixture(params=["extractive", "protocol", pytest.param("ollama", marks=pytest.mark.servers)])
async def writer(request: pytest.FixtureRequest, embed: Embed) -> AsyncGenerator[Writer]:
    if request.param == "extractive":
        yield ExtractiveWriter(embed)
        return
    url = request.getfixturevalue("ollama_like").url if request.param == "protocol" else ""
    url = url or request.getfixturevalue("ollama_url")
    name = "llama3.2:3b" if request.param == "protocol" else MODEL
    model = OllamaWriter(OllamaSettings(url=url, num_ctx=2048), Model(name, chats=True))
    try:
        yield model
    finally:
        await model.close()


async def test_writes_pieces_that_name_their_model(writer: Writer) -> None:
    pieces = [piece async for piece in writer.write(REQUEST)]
    assert "".join(piece.text for piece in pieces).strip()
    assert len([piece for piece in pieces if piece.text]) > 3
    assert {piece.model for piece in pieces} == {writer.name}
    assert pieces[-1].text == ""


async def test_counts_stand_in_the_last_piece(writer: Writer) -> None:
    last = [piece async for piece in writer.write(REQUEST)][-1]
    if writer.name != "extractive":
        assert last.tokens_in > 20
        assert last.tokens_out > 3


async def test_can_be_closed_and_used_again(writer: Writer) -> None:
    async with aclosing(writer.write(REQUEST)) as pieces:
        async for _ in pieces:
            break
    assert [piece async for piece in writer.write(REQUEST)]


async def test_serves_several_at_once(writer: Writer) -> None:
    async def whole() -> str:
        return "".join([piece.text async for piece in writer.write(REQUEST)])

    answers = await asyncio.gather(*(whole() for _ in range(4)))
    assert all(answer.strip() for answer in answers)


async def test_a_cancelled_task_ends_at_once(writer: Writer) -> None:
    async def whole() -> None:
        async for _ in writer.write(REQUEST):
            await asyncio.sleep(0.2)

    task = asyncio.create_task(whole())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)
