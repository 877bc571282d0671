"""The model that reads is not asked more often than the setting says."""

from __future__ import annotations

import time
from typing import Any

from aegis.database import Database
from aegis.database.outbox import Outbox
from aegis.services.reading import model_reader
from aegis.settings import Settings
from inference.routing import budgets_of, open_writer
from retrieval.catalogue import Catalogue
from retrieval.embedding.wordllama import load_wordllama
from tests.memory.library import Library
from tests.memory.reading.conftest import SCOPE, Clock, Script
from tests.memory.reading.test_reader import STATED, TEXT, drained
from tests.servers.ollama import OllamaLike


async def test_calls_keep_their_distance(database: Database, clock: Clock, model: OllamaLike, script: Script) -> None:
    """No faster, that is: a busy machine makes anything slower."""
    library = Library(database)
    for number in range(3):
        await library.put(f"Offices {number}", TEXT)
    script.edges = {"Lisbon": [STATED]}
    extraction = {"enabled": True, "calls_per_minute": 300}
    settings = Settings.model_validate({"ollama": {"url": model.url}, "extraction": extraction})
    none: Any = None
    async with open_writer(settings, budgets_of(settings, database, clock), load_wordllama().embed) as writer:
        await writer.look()
        given = (settings, database, Catalogue(database), Outbox(database), writer, none, None, "test", clock)
        reader = model_reader(*given)
        began = time.monotonic()
        await drained(reader, clock)
        took = time.monotonic() - began
        assert (await reader.queue.counts(SCOPE)).done == 3
    assert len(model.chats) >= 6
    assert took >= (len(model.chats) - 5) / 5  # five a second, and a bucket that holds five
