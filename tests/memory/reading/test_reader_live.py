"""The real Ollama with random weights: whatever it answers, nothing breaks and nothing it makes up is a fact."""

from __future__ import annotations

import pytest

from aegis.database import Database
from memory.facts.tables import facts
from memory.reading.tables import readings
from tests.memory.library import Library
from tests.memory.reading.conftest import SCOPE, Clock, open_reader
from tests.memory.reading.test_reader import TEXT, rows
from tests.servers.ollama_real import MODEL

pytestmark = pytest.mark.servers


async def test_noise_is_refused_or_set_apart(database: Database, clock: Clock, ollama_url: str) -> None:
    await Library(database).put("Offices", TEXT)
    before = await rows(database, facts)
    ollama = {"url": ollama_url, "model": MODEL, "extraction_model": MODEL, "num_ctx": 8192}
    ollama |= {"timeout": 120, "first_token_timeout": 120}
    async with open_reader(database, clock, ollama=ollama) as reader:
        await reader.step()
        counts = await reader.queue.counts(SCOPE)
    assert counts.done + counts.waiting == 1
    (read,) = await rows(database, readings)
    assert read["state"] == "done" or read["reason"]
    assert await rows(database, facts) == before
