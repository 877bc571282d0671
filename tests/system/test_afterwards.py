"""What follows when documents change, through the API over real engines: cached answers, standing questions, recall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aegis.settings import EdgeSettings, OllamaSettings, Settings
from api.app import create_app, opened

NOBODY = OllamaSettings(url="http://127.0.0.1:9")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    settings = Settings(data_dir=tmp_path / "var", ollama=NOBODY, vectors=EdgeSettings(), ingestion={"samples": False})  # pyright: ignore[reportArgumentType]
    app = create_app()
    async with opened(app, settings, command="test"):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=settings.address) as opened_client:
            yield opened_client


async def ingest(client: httpx.AsyncClient, source: str, text: str) -> None:
    body = {"documents": [{"source": source, "text": text}]}
    job = (await client.post("/api/v1/retrieval/ingest", json=body)).json()["job_id"]
    while (await client.get(f"/api/v1/retrieval/jobs/{job}")).json()["state"] not in ("done", "failed"):  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def ask(client: httpx.AsyncClient, question: str, **more: Any) -> dict[str, Any]:
    return (await client.post("/api/v1/chat", json={"question": question, **more})).json()


async def until(look: Any, seconds: float = 15) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.1)
    return found


async def test_what_was_answered_in_a_deleted_conversation_is_not_given_again(client: httpx.AsyncClient) -> None:
    await ingest(client, "boiler.md", "The boiler is maintained by Anna Berg. It stands in hall 3.")
    question = "Who maintains the boiler?"
    first = await ask(client, question)
    assert (await ask(client, "By whom is the boiler maintained?"))["cached"]["near"]
    assert (await ask(client, question))["cached"]["turn_id"] == first["turn_id"]
    receipt = (await client.delete(f"/api/v1/conversations/{first['conversation_id']}")).json()
    assert receipt["further"]["cached answers"] == 2
    anew = await ask(client, question)
    assert (anew["cached"], anew["answer"]) == (None, first["answer"])


async def test_an_erased_document_takes_its_answers_along(client: httpx.AsyncClient) -> None:
    await ingest(client, "boiler.md", "The boiler is maintained by Anna Berg. It stands in hall 3.")
    first = await ask(client, "Who maintains the boiler?")
    document = first["citations"][0]["document_id"]
    receipt = (await client.post("/api/v1/forget", json={"documents": [document], "erase": True})).json()
    assert receipt["documents"][0]["stores"]["cached answers"] == "erased from disk"

    async def recalled() -> Any:
        turns = (await client.get(f"/api/v1/conversations/{first['conversation_id']}")).json()["turns"]
        shown = turns[0]["recalled"]
        return shown if shown and shown["state"] == "different" else None

    assert (await until(recalled))["abstained"]


async def test_a_saved_answer_is_asked_again_as_it_was_asked(client: httpx.AsyncClient) -> None:
    """With its filters: elsewhere stands another answer that it was never to be given from."""
    await ingest(client, "hall.md", "The boiler is maintained by Anna Berg. It stands in hall 3.")
    await ingest(client, "rumours.md", "The boiler is maintained by Leo Lund. It stands in hall 3.")
    asked = {"filters": {"source": "upload:hall.md"}, "top_k": 3}
    first = await ask(client, "Who maintains the boiler?", **asked)
    assert "Anna Berg" in first["answer"]
    assert "Leo Lund" not in first["answer"]
    await ingest(client, "hall.md", "Hall 3 was painted in blue last summer by two students.")

    async def recalled() -> Any:
        turns = (await client.get(f"/api/v1/conversations/{first['conversation_id']}")).json()["turns"]
        shown = turns[0]["recalled"]
        return shown if shown and shown["state"] == "different" else None

    shown = await until(recalled)
    assert any("Anna Berg" in sentence for sentence in shown["gone"])
    assert "Leo Lund" not in shown["answer"]


async def test_answers_are_served_again_recalled_and_waited_for(client: httpx.AsyncClient) -> None:
    await ingest(client, "boiler.md", "The boiler is maintained by Anna Berg. It stands in hall 3.")
    question = "Who maintains the boiler?"
    first = await ask(client, question)
    assert (first["abstained"], first["cached"]) == (False, None)
    again = await ask(client, question)
    assert again["cached"]["turn_id"] == first["turn_id"]
    assert (again["answer"], again["cached"]["near"]) == (first["answer"], False)
    assert (await ask(client, "By whom is the boiler maintained?"))["answer"] == first["answer"]
    assert (await ask(client, question, fresh=True))["cached"] is None

    unknown = await ask(client, "Who inspects the greenhouse?")
    assert unknown["abstained"]
    kept = await client.post("/api/v1/questions", json={"turn_id": unknown["turn_id"]})
    assert (kept.status_code, kept.json()["state"]) == (201, "open")
    assert (await client.post("/api/v1/questions", json={"turn_id": first["turn_id"]})).status_code == 409
    await ingest(
        client, "greenhouse.md", "The greenhouse is inspected by Leo Lund. Leo Lund inspects the greenhouse weekly."
    )

    async def answered() -> Any:
        return (await client.get("/api/v1/questions", params={"state": "answered"})).json()["questions"]

    [found] = await until(answered)
    assert "Leo Lund" in found["evidence"][0]["quote"]

    await ingest(client, "boiler.md", "The boiler is maintained by Jon Dahl. It stands in hall 3.")
    changed = await ask(client, question)
    assert changed["cached"] is None
    assert "Jon Dahl" in changed["answer"]

    async def recalled() -> Any:
        turns = (await client.get(f"/api/v1/conversations/{first['conversation_id']}")).json()["turns"]
        shown = turns[0]["recalled"]
        return shown if shown and shown["state"] == "different" else None

    shown = await until(recalled)
    assert any("Anna Berg" in sentence for sentence in shown["gone"])
    assert any("Jon Dahl" in sentence for sentence in shown["new"])
    assert (await client.delete(f"/api/v1/questions/{found['id']}")).status_code == 204
