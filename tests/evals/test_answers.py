"""The sample questions through the HTTP interface in process: real stores, the extractive writer, no server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from aegis.settings import OllamaSettings, Settings
from api.app import create_app, opened
from evals.assistant import ApiAssistant
from evals.cases import OFF_TOPIC, SAMPLES, read_cases
from evals.runs import Pace, run

NOBODY = OllamaSettings(url="http://127.0.0.1:9")  # the discard port: no model server is there
PACE = Pace(parallel=4, timeout=30)


@asynccontextmanager
async def _assistant(folder: Path) -> AsyncGenerator[ApiAssistant]:
    settings = Settings(data_dir=folder, ollama=NOBODY)
    app = create_app()
    async with opened(app, settings, command="eval"):
        await app.state.services.prepared()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=settings.address, timeout=30) as client:
            yield ApiAssistant(client)


async def test_the_samples_are_answered_with_citations_that_hold(tmp_path: Path) -> None:
    async with _assistant(tmp_path) as assistant:
        report = await run(read_cases(SAMPLES), assistant, pace=PACE)
        silent = await run(read_cases(OFF_TOPIC), assistant, pace=PACE)
        left = await assistant.saved()
    found = report.summary()
    wrong = [case.id for case in report.cases if case.scores["expected"] == 0]
    assert not [(case.id, case.error) for case in report.cases if case.error]
    assert found["expected"].mean >= 0.9, wrong
    assert found["citations"].mean == 1
    assert found["sources"].mean >= 0.9
    assert {case.model for case in report.cases if not case.abstained} <= {"extractive", ""}
    # Seven of these are about things that the documents name, without what is asked: hard to tell without a model.
    assert silent.summary()["answered"].mean >= 0.6
    assert left == []  # nobody's history fills up with evaluations


async def test_a_saved_conversation_is_replayed_to_the_same_answers(tmp_path: Path) -> None:
    async with _assistant(tmp_path) as assistant:
        first = await assistant.ask("How much may a hotel cost in Paris?", None)
        await assistant.ask("And per kilometre by bicycle?", first.conversation_id)
        saved = await assistant.saved()
        report = await run(saved, assistant)
    assert [case.question for case in saved] == ["How much may a hotel cost in Paris?", "And per kilometre by bicycle?"]
    found = report.summary()
    assert found["similarity"].mean == 1
    assert found["sources"].mean == 1
    assert found["answered"].mean == 1
