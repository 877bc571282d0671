"""While documents are replaced, readers see one version of each: never both, never neither."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx

from tests.system.application import Site, finished, submit

DOCUMENTS = 6
ROUNDS = 6
READERS = 5


def test_never_both_and_never_neither(tmp_path: Path) -> None:
    site = Site(tmp_path / "var")
    with site.running() as client:
        finished(client, submit(client, _version(0)))
        looks = asyncio.run(_read_while_replacing(site.url, client))
    print(f"{looks} looks while {ROUNDS} versions of {DOCUMENTS} documents were published")  # noqa: T201 - a figure
    assert looks > 20


async def _read_while_replacing(url: str, client: httpx.Client) -> int:
    over = asyncio.Event()
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as reading:
        readers = [asyncio.create_task(_reader(reading, number, over)) for number in range(READERS)]
        for number in range(1, ROUNDS):
            done = await asyncio.to_thread(lambda: finished(client, submit(client, _version(number))))  # noqa: B023
            assert done["failures"] == []
        over.set()
        return sum(await asyncio.gather(*readers))


async def _reader(client: httpx.AsyncClient, number: int, over: asyncio.Event) -> int:
    looks = 0
    while not over.is_set() or looks == 0:
        await (_search(client, number % DOCUMENTS) if number % 2 else _chat(client, number % DOCUMENTS))
        looks += 1
    return looks


async def _search(client: httpx.AsyncClient, number: int) -> None:
    body = {"query": f"Which colour has beacon {number}?", "top_k": 50}
    hits = (await client.post("/api/v1/retrieval/search", json=body)).raise_for_status().json()["hits"]
    documents = [hit["document_id"] for hit in hits]
    assert len(documents) == len(set(documents)) == DOCUMENTS, [hit["text"] for hit in hits]


async def _chat(client: httpx.AsyncClient, number: int) -> None:
    body = {"question": f"Which colour has beacon {number}?"}
    turn = (await client.post("/api/v1/chat", json=body)).raise_for_status().json()
    assert not turn["abstained"], turn
    told = set(re.findall(rf"Beacon {number} has the colour shade-(\d+)", turn["answer"]))
    assert len(told) == 1, turn["answer"]


def _version(number: int) -> dict[Path, bytes]:
    return {
        Path(f"/beacons/beacon-{each}.md"): f"Beacon {each} has the colour shade-{number}{each}.".encode()
        for each in range(DOCUMENTS)
    }
