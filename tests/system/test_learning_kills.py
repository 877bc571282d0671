"""Killed at random moments while people talk: no statement is lost, none becomes two facts, and the index agrees.

AEGIS_TEST_KILLS: how often; the claim of 50 is checked by `AEGIS_TEST_KILLS=50`.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
from pathlib import Path

import httpx

from tests.system.application import Site, eventually
from tests.system.stores import faults_of_facts

KILLS = int(os.environ.get("AEGIS_TEST_KILLS", "1"))
EACH = 12  # statements between two kills


def test_kill_9_while_facts_are_written(tmp_path: Path) -> None:
    chance = random.Random(int(os.environ.get("AEGIS_TEST_SEED", "0")) or None)
    site = Site(tmp_path / "var")
    told: list[str] = []
    for kill in range(KILLS):
        site.start()
        moment = threading.Timer(chance.uniform(0.2, 2.0), site.kill)
        moment.start()
        with contextlib.suppress(httpx.TransportError), site.client() as client:
            for number in range(EACH):
                text = f"I like Thing{kill}x{number}."
                client.post("/api/v1/chat", json={"question": text})
                told.append(text)
        moment.join()
        site.kill()
    with site.running():
        eventually(lambda: _behind(site.folder, "learning", "turns") == 0, 60)
        eventually(lambda: _behind(site.folder, "facts:%", "graph") == 0, 60)
    committed, facts, evidence = _contents(site.folder)
    assert set(told) <= set(committed)
    assert sorted(facts) == sorted(set(committed)), "one fact for each statement that was committed"
    assert len(evidence) == len(set(evidence)) == len(committed)
    assert faults_of_facts(site.folder) == []
    print(f"{KILLS} kills, {len(committed)} statements, {len(facts)} facts")  # noqa: T201 - a figure


def _behind(folder: Path, projection: str, topic: str) -> int:
    query = (
        "select count(*) from outbox where topic = ? and seq >"
        " coalesce((select min(applied) from projections where name like ?), 0)"
    )
    with contextlib.closing(sqlite3.connect(f"file:{folder}/aegis.sqlite?mode=ro", uri=True)) as connection:
        return int(connection.execute(query, (topic, projection)).fetchone()[0])


def _contents(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Questions that were committed, sentences of facts, and turns that prove one."""
    with contextlib.closing(sqlite3.connect(f"file:{folder}/aegis.sqlite?mode=ro", uri=True)) as connection:
        asked = [row[0] for row in connection.execute("select question from turns")]
        facts = [row[0] for row in connection.execute("select text from facts")]
        proofs = [row[0] for row in connection.execute("select episode_id from evidence")]
    return asked, facts, proofs
