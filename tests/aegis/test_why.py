"""Where a document is lost, one test a stage, over the real index."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from aegis.errors import NotFound
from aegis.scope import Scope, document_id
from aegis.services import Services, open_services
from aegis.settings import Settings
from agents.why import Explanation, Name, Why
from graphs.wiring import meanings_of
from retrieval.catalogue import DocumentFilter
from retrieval.ingestion import Upload
from retrieval.search import SearchRequest

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCOPE = Scope("local", frozenset({"default"}), may_add_collections=True)
FILES = {
    "pump.md": b"# Pump P-7\n\nThe pump P-7 was made in Lahti in 1984 and moves 40 litres a second.",
    "valve.md": b"# Valve V-2\n\nThe valve V-2 opens at 6 bar. It was tested by Ritva Salo.",
    **{f"noise-{n}.md": f"# Note {n}\n\nThe pump room was painted, note {n} on the pump.".encode() for n in range(30)},
    "empty.pdf": b"%PDF-1.4 broken",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Services]:
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path_factory.mktemp("why"),
            "ingestion": {"samples": False},
            "ollama": {"url": "http://127.0.0.1:9"},
        }
    )
    async with open_services(settings) as opened:
        job = await opened.ingestion.submit(SCOPE, [Upload(f"upload:{name}", data) for name, data in FILES.items()])
        async for seen in opened.ingestion.watch(SCOPE, job.id):
            job = seen
        assert job.state == "done"
        yield opened


async def explained(services: Services, question: str, name: str, **request: Any) -> Explanation:
    why = Why(
        services.catalogue, services.ingestion, services.searcher, services.index, meanings_of(services), candidates=50
    )
    return await why(SCOPE, SearchRequest(question, **request), identifier(name))


def identifier(name: str) -> str:
    return document_id("local", "default", f"upload:{name}")


def stage(found: Explanation, name: Name) -> Any:
    return next(each for each in found.stages if each.name == name)


async def test_a_document_that_answers_is_lost_nowhere(services: Services) -> None:
    found = await explained(services, "Where was the pump P-7 made?", "pump.md")
    assert found.lost_at is None
    assert [each.name for each in found.stages] == [
        *("extraction", "chunk", "scope", "keyword", "dense", "mentions", "cut", "evidence")
    ]
    assert (stage(found, "cut").rank, stage(found, "keyword").rank) == (1, 1)
    assert stage(found, "keyword").score > stage(found, "keyword").cutoff


async def test_a_file_that_could_not_be_read_was_lost_there_with_its_reason(services: Services) -> None:
    found = await explained(services, "pump", "empty.pdf")
    assert found.lost_at == "extraction"
    assert "PDF" in found.stages[0].says


async def test_filters_that_leave_it_out(services: Services) -> None:
    found = await explained(services, "pump P-7", "pump.md", filter=DocumentFilter(type="pdf"))
    assert found.lost_at == "scope"


async def test_words_that_stand_nowhere_in_it_are_named(services: Services) -> None:
    found = await explained(services, "pump room painted", "valve.md")
    assert found.lost_at in ("keyword", "dense", "cut")
    assert "paint" in stage(found, "chunk").says
    assert stage(found, "keyword").passed is False


async def test_cut_off_by_others(services: Services) -> None:
    found = await explained(services, "note on the pump room", "pump.md", top_k=3)
    assert found.lost_at == "cut"
    assert stage(found, "cut").rank is None or stage(found, "cut").rank > 3


async def test_evidence_that_does_not_answer(services: Services) -> None:
    found = await explained(services, "Who was elected president of Brazil in 1955?", "pump.md", top_k=100)
    assert stage(found, "evidence").passed is False
    assert found.lost_at in ("keyword", "evidence")


async def test_what_nobody_sent_is_not_there(services: Services, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await explained(services, "pump", "never.md")
    stranger = Scope("somebody", frozenset({"default"}))
    why = Why(services.catalogue, services.ingestion, services.searcher, services.index, meanings_of(services), 50)
    with pytest.raises(NotFound):
        await why(stranger, SearchRequest("pump"), identifier("empty.pdf"))
