"""Several Ollama servers: the least busy one answers, the dead and the hanging are left, the slow is only slow."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from aegis.errors import ModelBusy, ModelUnavailable
from aegis.settings import OllamaSettings
from inference import Piece
from inference.ollama_servers import OllamaServers, open_servers
from tests.inference.conftest import Routed
from tests.inference.test_writer_contract import REQUEST
from tests.servers.ollama import OllamaLike, running_ollama_like

MODEL = "llama3.2:3b"


@pytest.fixture
def three() -> Generator[list[OllamaLike]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running_ollama_like()) for _ in range(3)]


def settings(servers: list[OllamaLike], **more: object) -> OllamaSettings:
    given = {"timeout": 10, "first_token_timeout": 1, "probe_interval": 0.2, "rest": 0.5, "failures": 2}
    urls = {"url": servers[0].url, "urls": [server.url for server in servers[1:]]}
    return OllamaSettings.model_validate({**given, **urls, **more})


async def pieces(servers: OllamaServers, **given: float) -> list[Piece]:
    return [piece async for piece in servers.here.write(replace(REQUEST, **given), MODEL)]


@pytest.fixture
async def opened(three: list[OllamaLike]) -> AsyncGenerator[OllamaServers]:
    async with open_servers(settings(three)) as servers:
        await servers.look()
        yield servers


async def test_work_is_shared_out(three: list[OllamaLike], opened: OllamaServers) -> None:
    await asyncio.gather(*(pieces(opened) for _ in range(12)))
    assert [len(server.chats) for server in three] == [4, 4, 4]


async def test_a_slower_server_gets_less_and_is_not_left(three: list[OllamaLike], opened: OllamaServers) -> None:
    three[0].tokens_per_second = 30
    for server in three:
        server.script = ["word " * 15] * 60
    await asyncio.gather(*(pieces(opened) for _ in range(40)))
    counts = [len(server.chats) for server in three]
    assert sum(counts) == 40
    assert 0 < counts[0] < min(counts[1:])
    assert all(member.circuit.closed for member in opened.here.members)


async def test_only_servers_that_hold_the_model_are_asked(three: list[OllamaLike], opened: OllamaServers) -> None:
    three[0].models = three[1].models = {"other:1b": ["completion"]}
    await opened.look()
    await asyncio.gather(*(pieces(opened) for _ in range(3)))
    assert [len(server.chats) for server in three] == [0, 0, 3]
    three[2].models = {"other:1b": ["completion"]}
    await opened.look()
    with pytest.raises(ModelUnavailable, match="No server that answers has the model"):
        await pieces(opened)


async def test_what_failed_before_it_showed_anything_goes_on_elsewhere(
    three: list[OllamaLike], opened: OllamaServers
) -> None:
    three[0].fault = three[1].fault = "error_500"
    written = [await pieces(opened) for _ in range(4)]
    assert all("Rust" in "".join(piece.text for piece in each) for each in written)
    assert len(three[2].chats) == 4


async def test_a_circuit_opens_and_closes_after_a_trial_that_costs_no_user_anything(
    three: list[OllamaLike], opened: OllamaServers
) -> None:
    three[0].fault = "hang"
    for _ in range(3):
        await pieces(opened)
        await pieces(opened)
    first = next(member for member in opened.here.members if member.address == three[0].url)
    assert not first.circuit.closed
    before = time.monotonic()
    await asyncio.gather(*(pieces(opened) for _ in range(4)))
    assert time.monotonic() - before < 0.9  # nobody waits for it any more
    three[0].fault = ""
    async with asyncio.timeout(8):
        while not first.circuit.closed:  # noqa: ASYNC110 - the prober has no event
            await asyncio.sleep(0.05)
    assert three[0].chats[-1].body["options"]["num_predict"] == 1
    await asyncio.gather(*(pieces(opened) for _ in range(3)))
    assert three[0].chats[-1].body["options"] == {"num_ctx": 8192, "temperature": 0.1}


async def test_the_queue_has_a_bound_and_a_deadline(three: list[OllamaLike]) -> None:
    for server in three:
        server.first_token_after = 0.6
    given = settings(three[:1], parallel=1, queue=1, queue_timeout=0.2)
    async with open_servers(given) as servers:
        await servers.look()
        first = asyncio.create_task(pieces(servers))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(pieces(servers))
        await asyncio.sleep(0.05)
        with pytest.raises(ModelBusy, match="1 answers wait already"):
            await pieces(servers)
        with pytest.raises(ModelBusy, match="none had room in time"):
            await second
        assert await first
        assert servers.here.waiting == 0
        assert await pieces(servers)  # no slot was lost


async def test_leaving_the_queue_gives_its_place_back(three: list[OllamaLike]) -> None:
    three[0].first_token_after = 0.3
    async with open_servers(settings(three[:1], parallel=1)) as servers:
        await servers.look()
        waiting = [asyncio.create_task(pieces(servers)) for _ in range(4)]
        await asyncio.sleep(0.1)
        for task in waiting[1:3]:
            task.cancel()
        assert await waiting[0]
        assert await waiting[3]
        assert servers.here.members[0].busy == 0
        assert len(three[0].chats) == 2


async def test_a_busy_server_rests_and_is_not_dead(three: list[OllamaLike]) -> None:
    three[0].fault = "busy_429"
    async with open_servers(settings(three[:1])) as servers:
        await servers.look()
        waiting = asyncio.create_task(pieces(servers))
        await asyncio.sleep(0.3)
        three[0].fault = ""
        assert await waiting
        assert servers.here.members[0].circuit.closed


@pytest.mark.alone  # seconds count here
async def test_one_dies_one_hangs_one_is_slow(three: list[OllamaLike], routed_writer: Routed) -> None:
    """AEGIS_TEST_CHATS chats at once (100 by hand): each ends with an answer, none after its deadline."""
    chats, limit = int(os.environ.get("AEGIS_TEST_CHATS", "40")), 12.0
    dying, hanging, slow = three
    slow.tokens_per_second, slow.parallel = 60, 16
    ollama = settings(three, timeout=limit, parallel=16, queue=chats, queue_timeout=limit).model_dump()
    took: list[float] = []
    models: Counter[str] = Counter()

    async with routed_writer(ollama=ollama) as writer:

        async def chat() -> None:
            began, text, model = time.monotonic(), "", ""
            async for piece in writer.write(REQUEST):
                text, model = text + piece.text, piece.model
            took.append(time.monotonic() - began)
            models[model] += 1
            assert "Rust" in text

        for server in three:
            server.first_token_after = 0.1
        under_way = [asyncio.create_task(chat()) for _ in range(chats)]
        await asyncio.sleep(0.05)
        hanging.fault = "hang"
        await asyncio.to_thread(dying.stop)
        await asyncio.gather(*under_way)
    served = {
        name: sum(call.outcome == "done" for call in s.chats)
        for name, s in zip(("dying", "hanging", "slow"), three, strict=True)
    }
    print(f"{chats} chats: answered by {dict(models)}, at {served}; longest {max(took):.2f} s")  # noqa: T201
    assert sum(models.values()) == chats
    assert max(took) < limit + 2
    assert models[MODEL] >= chats * 0.9
