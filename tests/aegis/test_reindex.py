"""Another embedder: refused by mistake, taken over while searches go on, resumed after a stop."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from aegis.errors import ConfigurationError, Conflict
from aegis.scope import Scope
from aegis.services import Services, open_services
from aegis.settings import Settings
from retrieval.ingestion import Upload
from retrieval.search import SearchRequest
from tests.retrieval.embedding.server import WIDTH, EmbeddingServer, running_embedding_server

SCOPE = Scope("local", frozenset({"default"}), may_add_collections=True)
TOPICS = ("rivers", "granite", "violins", "harvest", "glaciers")


@pytest.fixture
def server() -> Generator[EmbeddingServer]:
    with running_embedding_server() as running:
        yield running


def settings(folder: Path, **embedder: Any) -> Settings:
    return Settings.model_validate(
        {
            "data_dir": folder,
            "ingestion": {"samples": False},
            "ollama": {"url": "http://127.0.0.1:9"},
            **({"embedder": embedder} if embedder else {}),
        }
    )


def other(server: EmbeddingServer) -> dict[str, Any]:
    return {"kind": "ollama", "url": server.url, "dimensions": WIDTH}


def name_it(monkeypatch: pytest.MonkeyPatch, server: EmbeddingServer) -> None:
    """As an operator does, in the environment or in .env."""
    for key, value in other(server).items():
        monkeypatch.setenv(f"AEGIS_EMBEDDER__{key.upper()}", str(value))


async def ingest(services: Services, count: int, name: str = "note") -> None:
    texts = [f"A note on {TOPICS[n % 5]}, number {n}: they matter to {name} {n}." for n in range(count)]
    uploads = [Upload(f"upload:{name}-{n}.txt", text.encode()) for n, text in enumerate(texts)]
    job = await services.ingestion.submit(SCOPE, uploads)
    async for seen in services.ingestion.watch(SCOPE, job.id):
        job = seen
    assert (job.state, len(job.failures)) == ("done", 0)


async def found(services: Services, query: str, mode: Any = "hybrid") -> list[str]:
    return [hit.chunk.source for hit in await services.searcher.search(SCOPE, SearchRequest(query, mode=mode, top_k=5))]


async def done(services: Services) -> None:
    async with asyncio.timeout(60):
        while services.reindexing.progress().running:  # noqa: ASYNC110 - as an operator looks
            await asyncio.sleep(0.02)


async def test_another_embedder_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, server: EmbeddingServer
) -> None:
    async with open_services(settings(tmp_path)) as services:
        await ingest(services, 3)
    with pytest.raises(ConfigurationError, match="aegis reindex"):
        async with open_services(settings(tmp_path, **other(server))):
            pass
    async with open_services(settings(tmp_path)) as services:  # as before: nothing was harmed
        assert len(await found(services, "rivers")) == 3


async def test_searches_go_on_and_what_changes_meanwhile_is_there_afterwards(
    tmp_path: Path, server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_services(settings(tmp_path)) as services:
        await ingest(services, 40)
        before = services.embedder.name
        with pytest.raises(Conflict):
            await services.reindexing.start()
        name_it(monkeypatch, server)
        await services.reindexing.start()
        adding, searches = asyncio.create_task(ingest(services, 5, "late")), 0
        while services.reindexing.progress().running:
            assert len(await found(services, "violins")) == 5
            searches += 1
        await adding
        await done(services)
        assert services.reindexing.progress().waits is None
        assert searches > 1
        assert services.embedder.name != before
        assert services.embedder.dimensions == WIDTH
        assert all("late" in source for source in (await found(services, "late", "vector"))[:3])
        assert await services.index.now.projection.verify()
        await ingest(services, 2, "after")
        assert [each for each in await found(services, "they matter to after", "vector") if "after" in each]
    async with open_services(settings(tmp_path, **other(server))) as services:
        assert (await services.catalogue.totals(SCOPE))["documents"] == 47
        assert "late" in (await found(services, "late", "vector"))[0]
        assert [each.name for each in (tmp_path / "vectors").iterdir()] == [services.embedder.name]


async def test_a_reindexing_that_was_cut_off_goes_on_and_embeds_nothing_twice(
    tmp_path: Path, server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_services(settings(tmp_path)) as services:
        await ingest(services, 250)
        name_it(monkeypatch, server)
        await services.reindexing.start()
        while len(server.texts) < 101:  # noqa: ASYNC110 - filled by the server's thread
            await asyncio.sleep(0.005)
    embedded = len(set(server.texts))
    assert 100 <= embedded < 251
    async with open_services(settings(tmp_path, **other(server))) as services:  # not refused: it is being made
        await done(services)
        assert services.embedder.dimensions == WIDTH
        notes = [text for text in server.texts if "note" in text]
        assert len(set(notes)) == 250
        assert len(notes) <= 350  # at most the page that was cut off comes again
        assert len(await found(services, "granite", "vector")) == 5


async def test_a_server_that_goes_away_is_waited_for(
    tmp_path: Path, server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_services(settings(tmp_path)) as services:
        await ingest(services, 250)
        name_it(monkeypatch, server)
        await services.reindexing.start()
        while len(server.texts) < 101:  # noqa: ASYNC110 - filled by the server's thread
            await asyncio.sleep(0.005)
        server.fault = "error_500"
        await asyncio.sleep(0.5)
        assert services.reindexing.progress().running
        assert len(await found(services, "glaciers")) == 5
        server.fault = ""
        await done(services)
        assert services.embedder.dimensions == WIDTH


async def test_a_search_by_words_goes_on_while_the_embedder_is_away(tmp_path: Path, server: EmbeddingServer) -> None:
    async with open_services(settings(tmp_path, **other(server))) as services:
        await ingest(services, 5)
        server.fault = "error_500"
        assert (await found(services, "granite"))[0] == "upload:note-1.txt"


async def test_nothing_is_sent_to_an_embedder_elsewhere(
    tmp_path: Path, server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is this one's, but by its name it is another machine's."""
    monkeypatch.setattr("inference.premises.NAMES", ())
    elsewhere = other(server) | {"url": server.url.replace("127.0.0.1", "localhost")}
    with pytest.raises(ConfigurationError, match="private"):
        async with open_services(settings(tmp_path, **elsewhere)):
            pass
    async with open_services(settings(tmp_path)) as services:  # refused before anything was remembered
        await ingest(services, 3)
        monkeypatch.setenv("AEGIS_EMBEDDER__URL", elsewhere["url"])
        monkeypatch.setenv("AEGIS_EMBEDDER__KIND", "ollama")
        with pytest.raises(ConfigurationError, match="private"):
            await services.reindexing.start()
    assert server.texts == []
