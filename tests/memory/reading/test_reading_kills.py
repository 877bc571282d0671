"""Killed while a model reads: each chunk is read once, no fact twice, nothing lost.

AEGIS_TEST_KILLS: how often; each comes after so many requests, not after so much time.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

from aegis.database import Database
from memory.facts.tables import evidence, facts
from memory.reading.tables import readings
from tests.memory.library import Library
from tests.memory.reading.conftest import Script
from tests.memory.reading.test_reader import rows
from tests.servers.ollama import OllamaLike

KILLS = int(os.environ.get("AEGIS_TEST_KILLS", "1"))
CHUNKS = max(6, 2 * KILLS)


async def test_kill_9_while_a_model_reads(
    database: Database, tmp_path: Path, model: OllamaLike, script: Script
) -> None:
    library, names = Library(database), [f"Lab{number} Works" for number in range(CHUNKS)]
    for name in names:
        await library.put(name, f"In 2019 {name} opened an office in Lisbon. It rained all day in the north.")
    script.edges = {
        name: [(name, "OPENED_OFFICE_IN", "Lisbon", f"{name} opened an office in Lisbon.")] for name in names
    }
    model.tokens_per_second = 400
    chance = random.Random(int(os.environ.get("AEGIS_TEST_SEED", "0")) or None)
    for _ in range(KILLS):
        reader = await _reader(tmp_path, model.url)
        until = len(model.chats) + chance.randint(1, 5)
        while len(model.chats) < until and reader.returncode is None:  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.005)
        if reader.returncode is None:
            reader.send_signal(signal.SIGKILL)
        await reader.wait()
    reader = await _reader(tmp_path, model.url)
    assert await reader.wait() == 0
    read = await rows(database, readings)
    assert {row["state"] for row in read} == {"done"}
    assert len(read) == CHUNKS
    mine = {row["id"]: row for row in await rows(database, facts) if row["relation"] == "OPENED_OFFICE_IN"}
    assert len(mine) == CHUNKS
    assert len({row["source_id"] for row in mine.values()}) == CHUNKS
    proofs = Counter(row["fact_id"] for row in await rows(database, evidence) if row["fact_id"] in mine)
    assert set(proofs.values()) == {1}
    print(f"{KILLS} kills, {CHUNKS} chunks, {len(model.chats)} calls, {len(mine)} facts")  # noqa: T201 - a figure


async def _reader(folder: Path, url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.memory.reading.reading_process", str(folder), url
    )
