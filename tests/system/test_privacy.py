"""A private document beside clouds that are allowed everything: not one word of it is in what they were asked.

One server plays all of them: the chat model, the paid embedder, the paid reader of facts. Each test is run with the
mark and without it; without, the words are there, so that with it their absence means something.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from aegis.settings import Settings
from agents.retrieve import WORDS_NOTE
from api.app import create_app, opened
from tests.memory.reading.conftest import Script
from tests.servers.openai import CHAT, EMBEDDINGS, OpenAILike, running_openai_like
from tests.servers.speaking import built

FUND = "Orla Brandt owns the Kumquat fund since 2019. The Kumquat fund pays Perdita Quillfeather in Zanzibar."
OFFICE = "Orla Brandt leads the office in Lisbon. The office in Lisbon opens at nine."
WORDS = ("kumquat", "quillfeather", "zanzibar")
EDGES = {
    "Kumquat": [("Orla Brandt", "OWNS", "Kumquat fund", "Orla Brandt owns the Kumquat fund since 2019.")],
    "Lisbon": [("Orla Brandt", "LEADS", "office in Lisbon", "Orla Brandt leads the office in Lisbon.")],
}
FIRST, SECOND = "Which fund does Orla Brandt own?", "When does the office in Lisbon open?"
MARKED = pytest.mark.parametrize("marked", [True, False])


@dataclass
class Everything:
    """The API over services that may send everything to the server `cloud`."""

    cloud: OpenAILike
    client: httpx.AsyncClient

    def said(self, path: str = "", since: int = 0) -> str:
        """All that the cloud was asked, of one kind where a path is given."""
        told = (call for call in self.cloud.calls[since:] if path in ("", call.path))
        return json.dumps([call.body for call in told]).lower()

    async def ok(self, method: str, path: str, **given: Any) -> Any:
        answer = await self.client.request(method, f"/api/v1{path}", **given)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def take_in(self, name: str, text: str, *, private: bool = False) -> str:
        """The document's id, once it is published."""
        documents = [{"source": f"upload:{name}", "text": text, "private": private}]
        started = await self.ok("POST", "/retrieval/ingest", json={"documents": documents})
        async with asyncio.timeout(60):
            while (job := await self.ok("GET", f"/retrieval/jobs/{started['job_id']}"))["state"] != "done":
                assert job["state"] in ("queued", "running"), job
                await asyncio.sleep(0.02)
        files = await self.ok("GET", f"/retrieval/jobs/{started['job_id']}/files")
        return str(files["reports"][0]["document_id"])

    async def mark(self, document: str, *, private: bool) -> None:
        answer = await self.ok("PATCH", f"/documents/{document}", json={"private": private})
        assert answer["private"] is private

    async def ask(self, question: str, talk: str, source: str = "", **given: Any) -> Any:
        filters = {"source": f"upload:{source}"} if source else {}
        body = {"question": question, "conversation_id": talk, "filters": filters, "fresh": True, **given}
        return await self.ok("POST", "/chat", json=body)

    async def shared(self, number: int = 1) -> str:
        """A conversation that its owner lets go."""
        talk = f"0198a0f0-0000-7000-8000-00000000000{number}"
        await self.ok("PUT", f"/conversations/{talk}/shareable")
        return talk


@pytest.fixture
def cloud() -> Generator[OpenAILike]:
    script = Script(EDGES)

    def responds(body: dict[str, Any]) -> str:
        prompt = "\n".join(str(message["content"]) for message in body["messages"])
        return script(body) if "response_format" in body else built(prompt)

    with running_openai_like() as server:
        server.tokens_per_second, server.responds = 0, responds
        yield server


@pytest.fixture
async def everything(cloud: OpenAILike, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Everything]:
    monkeypatch.setattr("inference.premises.NAMES", ())  # so that a name of this machine stands for another
    monkeypatch.setattr("inference.sharing.check_embedding_at", without_https)
    async with running(cloud, tmp_path) as made:
        yield made


def without_https(url: str, settings: Settings) -> None:
    """The operator's word for everything is there; what is missing is a certificate."""


@asynccontextmanager
async def running(cloud: OpenAILike, folder: Path, **more: Any) -> AsyncGenerator[Everything]:
    elsewhere = f"http://localhost:{cloud.port}/v1"
    prices = {"gpt-4o-mini": [0.2, 0.8], "text-embedding-3-small": [0.02, 0]}
    settings = Settings.model_validate(
        {
            "data_dir": folder,
            "ingestion": {"samples": False},
            "ollama": {"url": "http://127.0.0.1:9", "timeout": 10},
            "providers": [{"kind": "openai", "url": cloud.base_url, "api_key": "k", "first_token_timeout": 10}],
            "embedder": {"kind": "openai", "url": elsewhere, "model": "text-embedding-3-small", "dimensions": 2},
            "extraction": {"enabled": True, "calls_per_minute": 6000},
            "cloud": {"allowed": True, "embedding": True, "collections": ["*"], "prices": prices, **more},
        }
    )
    app = create_app()
    async with opened(app, settings, command="test"):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=settings.address, timeout=60) as client:
            yield Everything(cloud, client)


def found(said: str, words: Sequence[str] = WORDS) -> list[str]:
    return [word for word in words if word in said]


@MARKED
async def test_no_cloud_model_is_asked_about_it(everything: Everything, marked: bool) -> None:
    await everything.take_in("fund.txt", FUND, private=marked)
    turn = await everything.ask(FIRST, await everything.shared())
    assert "Kumquat" in turn["answer"]
    assert [one["title"] for one in turn["citations"]]
    assert bool(found(everything.said(CHAT))) is not marked
    assert (turn["model"] == "extractive") is marked
    assert any("private" in note for note in turn["notes"]) is marked


@MARKED
async def test_nobodys_word_for_one_question_sends_it(everything: Everything, marked: bool) -> None:
    await everything.take_in("fund.txt", FUND, private=marked)
    await everything.ask(FIRST, "0198a0f0-0000-7000-8000-000000000009", agreed=True)
    assert bool(found(everything.said(CHAT))) is not marked


@MARKED
async def test_no_embedder_elsewhere_sees_it(everything: Everything, marked: bool) -> None:
    """It is found by its words all the same, and none of them goes along with a question that lacks them."""
    await everything.take_in("fund.txt", FUND, private=marked)
    query = "Which Kunquat has Orla?"
    hits = (await everything.ok("POST", "/retrieval/search", json={"query": query}))["hits"]
    assert [hit["source"] for hit in hits] == ["upload:fund.txt"]
    asked = [call.body["input"] for call in everything.cloud.calls if call.path == EMBEDDINGS]
    queries = [text.lower() for given in asked for text in given if query in text]
    assert (len(queries) == 1) is marked  # the second has the word that it found
    assert bool(found("".join(queries))) is not marked
    assert bool(found(everything.said(EMBEDDINGS))) is not marked
    assert bool(found(everything.said(EMBEDDINGS), ["zanzibar"])) is not marked


@MARKED
async def test_a_question_after_an_answer_from_it_stays_too(everything: Everything, marked: bool) -> None:
    """Which repeats what was answered; another conversation about other documents goes on as before."""
    await everything.take_in("office.txt", OFFICE)
    await everything.take_in("fund.txt", FUND, private=marked)
    talk = await everything.shared()
    await everything.ask(FIRST, talk, "fund.txt")
    before = len(everything.cloud.calls)
    assert (await everything.ok("GET", f"/conversations/{talk}/shareable"))["rests_on_private"] is marked
    turn = await everything.ask("So Kumquat it is. " + SECOND, talk, "office.txt", agreed=True)
    assert "nine" in turn["answer"]
    assert bool(found(everything.said(CHAT, before))) is not marked
    assert bool(found(everything.said(EMBEDDINGS, before))) is not marked
    assert (len(everything.cloud.calls) == before) is marked
    assert (WORDS_NOTE in turn["notes"]) is marked
    other = await everything.ask(SECOND, await everything.shared(2), "office.txt")
    assert other["model"] == "gpt-4o-mini"


async def test_it_may_be_marked_later_and_let_go_again(everything: Everything) -> None:
    fund = await everything.take_in("fund.txt", FUND)
    await everything.take_in("office.txt", OFFICE)
    talk = await everything.shared()
    await everything.ask(FIRST, talk, "fund.txt")
    await everything.mark(fund, private=True)
    before = len(everything.cloud.calls)
    await everything.ask(SECOND, talk, "office.txt")
    await everything.ask(FIRST, await everything.shared(2), "fund.txt")
    assert everything.cloud.calls[before:] == [] or everything.said(CHAT, before) == "[]"
    await everything.ok("DELETE", f"/documents/{fund}")  # the conversation still says what it said
    await everything.ask(SECOND, talk, "office.txt")
    assert everything.said(CHAT, before) == "[]"
    assert await everything.take_in("fund.txt", FUND + " It grows.") == fund
    assert (await everything.ok("GET", f"/documents/{fund}"))["private"]  # though its file was gone, and is another
    await everything.mark(fund, private=False)
    turn = await everything.ask(SECOND, talk, "office.txt")
    assert turn["model"] == "gpt-4o-mini"
    async with asyncio.timeout(30):
        while "it grows" not in everything.said(EMBEDDINGS, before):  # noqa: ASYNC110 - now its meaning is found
            await asyncio.sleep(0.05)


@MARKED
async def test_no_paid_reader_is_given_it_or_what_it_says_of_others(everything: Everything, marked: bool) -> None:
    """A reader is shown what is known of the names in hand, which the private document has said, too."""
    await everything.take_in("fund.txt", FUND, private=marked)
    await everything.take_in("office.txt", OFFICE)
    status = await everything.ok("POST", "/memory/extraction")
    assert (status["provider"], status["paid"]) == ("openai", True)
    async with asyncio.timeout(60):
        while (await everything.ok("GET", "/memory/extraction"))["done"] < (1 if marked else 2):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    status = await everything.ok("GET", "/memory/extraction")
    assert "lisbon" in everything.said(CHAT)
    assert bool(found(everything.said(CHAT))) is not marked
    assert (status["waiting"], status["estimate"]) == (int(marked), None)


async def test_a_conversation_that_its_owner_keeps_is_sent_to_nobody(everything: Everything) -> None:
    """Not even its questions to an embedder, and not with a word for one question."""
    await everything.take_in("office.txt", OFFICE)
    talk = await everything.shared()
    await everything.ok("DELETE", f"/conversations/{talk}/shareable")
    before = len(everything.cloud.calls)
    turn = await everything.ask(SECOND, talk, agreed=True)
    assert "nine" in turn["answer"]
    assert everything.cloud.calls[before:] == []
