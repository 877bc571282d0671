"""Killed at random moments of an ingestion, of start-up, of a submission: it ends as if nothing had happened.

AEGIS_TEST_KILLS: how often the server is killed; AEGIS_TEST_FILES: of how many files; AEGIS_TEST_SEED: which moments.
The claim of 20 kills over 200 files is checked by `AEGIS_TEST_KILLS=20 AEGIS_TEST_FILES=200`.
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.system.application import Site, finished, job, submit
from tests.system.library import files
from tests.system.stores import Contents, contents, faults

KILLS = int(os.environ.get("AEGIS_TEST_KILLS", "2"))
FILES = int(os.environ.get("AEGIS_TEST_FILES", "60"))
REPLACED = FILES // 5  # of them come in another version before


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Contents, float]:
    """What the folder holds when nothing happens, and how many seconds it took."""
    site = Site(tmp_path_factory.mktemp("undisturbed") / "var")
    with site.running() as client:
        began, _ = _first(client), time.monotonic()
        started = time.monotonic()
        done = finished(client, submit(client, _second()))
        took = time.monotonic() - started
        assert (began["state"], done["state"], done["failures"]) == ("done", "done", [])
    assert faults(site.folder) == []
    return contents(site.folder), took


def test_kill_9_at_random_moments(undisturbed: tuple[Contents, float], tmp_path: Path) -> None:
    wanted, took = undisturbed
    chance = random.Random(int(os.environ.get("AEGIS_TEST_SEED", "0")) or None)
    site = Site(tmp_path / "var")
    with site.running() as client:
        _first(client)
    job_id = _killed_while_submitting(site, chance)
    hits, ended = _killed_again_and_again(site, chance, job_id, took)
    with site.running() as client:
        done = finished(client, job_id)
        assert (done["state"], done["done"], done["failures"]) == ("done", FILES, [])
        assert done["unchanged"] == 0
    print(f"{KILLS} kills, {hits} before the job had ended (undisturbed {took:.1f} s)")  # noqa: T201 - a figure
    assert hits > 0 or ended
    assert faults(site.folder) == []
    assert contents(site.folder).counts() == wanted.counts()
    assert contents(site.folder) == wanted


def test_kill_9_of_the_children(undisturbed: tuple[Contents, float], tmp_path: Path) -> None:
    wanted, _ = undisturbed
    chance = random.Random()
    site = Site(tmp_path / "var")
    with site.running() as client:
        _first(client)
        job_id = submit(client, _second())
        killed = {"shard/child": 0, "spawn_main": 0}
        while job(client, job_id)["state"] in ("queued", "running"):
            time.sleep(chance.uniform(0.0, 0.2 if min(killed.values()) else 0.02))
            for word in killed:  # at first sight, however short the job is, then at random
                if killed[word] == 0 or (killed[word] < 3 and chance.random() < 0.2):
                    killed[word] += _killed(site.children(word))
            answer = client.post("/api/v1/retrieval/search", json={"query": "ledger", "mode": "keyword"})
            assert answer.status_code in (200, 503), answer.text
        done = job(client, job_id)
        print(f"killed {killed}")  # noqa: T201 - a figure
        assert min(killed.values()) > 0
        assert (done["state"], done["failures"]) == ("done", [])
    assert faults(site.folder) == []
    assert contents(site.folder) == wanted


def _first(client: httpx.Client) -> dict[str, object]:
    """Earlier versions of some files: the ingestion that follows replaces them."""
    old = {file: data + b"\n\nAn old remark." for file, data in list(_second().items())[:REPLACED]}
    return finished(client, submit(client, old))


def _second() -> dict[Path, bytes]:
    return files(Path("/records"), FILES)


def _killed_while_submitting(site: Site, chance: random.Random) -> str:
    """The submission is cut off, and made again by its client, as it has no answer; the job's id."""
    site.start()
    moment = threading.Timer(chance.uniform(0.0, 0.3), site.kill)
    moment.start()
    try:
        with site.client() as client:
            return submit(client, _second())
    except httpx.TransportError:
        site.start()
        with site.client() as client:
            return submit(client, _second())
    finally:
        moment.join()
        site.kill()


def _killed_again_and_again(site: Site, chance: random.Random, job_id: str, took: float) -> tuple[int, bool]:
    """(kills that hit the job at work, whether it had ended before the last kill)."""
    hits = 0
    for number in range(KILLS):
        if number % 4 == 3:  # while it starts
            site.start(ready=False)
            time.sleep(chance.uniform(0, 5))
            site.kill()
            hits += 1
            continue
        with site.client() as client:
            site.start()
            time.sleep(chance.uniform(0, 2.0 * took / max(1, KILLS)))
            ended = job(client, job_id)["state"] == "done"
            site.kill()
        if ended:
            return hits, True
        hits += 1
    return hits, False


def _killed(processes: list[psutil.Process]) -> int:
    for process in processes:
        process.kill()
    return len(processes)
