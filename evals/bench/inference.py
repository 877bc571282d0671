"""What our own code costs between a model server and the answer, and what a pool of servers gives.

The servers speak Ollama's protocol and are no models (`tests/servers/ollama.py`, in processes of their own). Costs are
processor time of this process, so that other work on the machine does not count: raw httpx, ChatOllama as langchain
offers it, and ours, in one run. AEGIS_BENCH_SECONDS: 10.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from aegis.database import open_database
from aegis.database.migrations import upgrade
from aegis.errors import NotFound
from aegis.settings import OllamaSettings, Settings, SQLiteSettings
from evals.bench.server import ROOT
from inference import ChatMessage, Passage, WriteRequest
from inference.routing import RoutedWriter, budgets_of, open_writer

MODEL = "llama3.2:3b"
TOKENS = 400  # of an answer, when the cost of a token is measured
SHORT = 20  # of an answer, when chats are counted
PARALLEL = 4  # answers that one server writes at a time
ROUNDS = 6
CHATS = 100
DEADLINE = 20.0  # seconds
TEXT = "Qdrant is a vector search engine. Qdrant is written in Rust."
QUESTION = "What is Qdrant written in?"
MESSAGES = (
    ChatMessage("system", "Answer from the evidence."),
    ChatMessage("user", f'<evidence id="1" title="Qdrant">\n{TEXT}\n</evidence>\n\nQuestion: {QUESTION}'),
)
REQUEST = WriteRequest(QUESTION, [Passage(1, "c1", "Qdrant", TEXT, 0, 1.0)], MESSAGES)


@dataclass(frozen=True, slots=True)
class ModelServer:
    url: str
    process: asyncio.subprocess.Process

    async def set(self, **values: Any) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.post(f"{self.url}/_test/set", json=values)

    async def answered(self) -> int | None:
        """Chats that it finished; None when it is gone."""
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                calls = (await client.get(f"{self.url}/_test/log")).json()
        except httpx.HTTPError:
            return None
        return sum(call["path"] == "/api/chat" and call["outcome"] == "done" for call in calls)


def bench(*, quiet: bool = False) -> dict[str, Any]:
    """Raises NotFound where the project's tests, which hold the servers, are not installed."""
    if not (ROOT / "tests/servers/ollama.py").is_file():
        raise NotFound("The benchmark inference needs the project's folder: its servers are in tests/servers.")
    found = asyncio.run(_measure(float(os.environ.get("AEGIS_BENCH_SECONDS", "10"))))
    if not quiet:
        _show(found)
    return found


async def _measure(seconds: float) -> dict[str, Any]:
    return {"overhead": await _overhead(), "pool": await _pool(seconds), "faults": await _faults()}


# -- what a token and a call cost


async def _overhead() -> dict[str, Any]:
    async with model_servers(1, tokens_per_second=0, answer_tokens=TOKENS) as long:
        per_answer = await _compared(long[0].url)
    async with model_servers(1, tokens_per_second=0, answer_tokens=1) as short:
        per_call = await _compared(short[0].url)
    token = {name: (per_answer[name] - per_call[name]) / (TOKENS - 1) * 1e6 for name in per_answer}
    return {
        "microseconds_per_token": {name: round(value, 1) for name, value in token.items()},
        "microseconds_per_call": {name: round(value * 1e6) for name, value in per_call.items()},
        "ours_over_chatollama_in_raw": round((token["ours"] - token["chatollama"]) / token["raw"], 2),
    }


async def _compared(url: str) -> dict[str, float]:
    """Seconds of processor time that an answer takes, least of the rounds, each rival in each round."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=30))
        writer = await stack.enter_async_context(_routed([url]))
        chat = _chat_ollama(url)
        ways: Mapping[str, Callable[[], Awaitable[None]]] = {
            "raw": lambda: _raw(client, url),
            "chatollama": lambda: _through_langchain(chat),
            "ours": lambda: _ours(writer),
        }
        for way in ways.values():
            await way()
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                began = time.process_time()
                for _ in range(5):
                    await way()
                took[name].append((time.process_time() - began) / 5)
    return {name: min(each) for name, each in took.items()}


async def _raw(client: httpx.AsyncClient, url: str) -> None:
    messages = [{"role": message.role, "content": message.text} for message in MESSAGES]
    body = {"model": MODEL, "messages": messages, "stream": True, "options": {"num_ctx": 8192}}
    async with client.stream("POST", f"{url}/api/chat", json=body) as response:
        async for line in response.aiter_lines():
            json.loads(line)["message"]["content"]


async def _through_langchain(chat: Any) -> None:
    from langchain_core.messages import HumanMessage, SystemMessage

    async for chunk in chat.astream([SystemMessage(MESSAGES[0].text), HumanMessage(MESSAGES[1].text)]):
        str(chunk.content)


async def _ours(writer: RoutedWriter) -> None:
    async with aclosing(writer.write(REQUEST)) as pieces:
        async for piece in pieces:
            str(piece.text)


def _chat_ollama(url: str) -> Any:
    from langchain_ollama import ChatOllama

    return ChatOllama(model=MODEL, base_url=url, num_ctx=8192, client_kwargs={"trust_env": False})


# -- what a pool gives


async def _pool(seconds: float) -> dict[str, Any]:
    rates = {f"servers_{count}": await chats_per_second(count, seconds) for count in (1, 3)}
    return {**rates, "ratio": round(rates["servers_3"] / rates["servers_1"], 2)}


async def chats_per_second(count: int, seconds: float) -> float:
    """Of a pool of that many servers, each with twice the callers that it answers at a time."""
    async with (
        model_servers(count, tokens_per_second=40, answer_tokens=SHORT, parallel=PARALLEL) as servers,
        _routed([server.url for server in servers]) as writer,
    ):
        return await _rate(writer, callers=count * PARALLEL * 2, seconds=seconds)


async def _rate(writer: RoutedWriter, *, callers: int, seconds: float) -> float:
    """Chats a second of that many callers, each with one at a time."""
    done = 0
    end = time.monotonic() + seconds

    async def caller() -> None:
        nonlocal done
        while time.monotonic() < end:
            await _ours(writer)
            done += time.monotonic() < end

    await asyncio.gather(*(caller() for _ in range(callers)))
    return round(done / seconds, 2)


async def _faults() -> dict[str, Any]:
    """100 chats at once, while one of three servers dies, one hangs and one is slow."""
    took: list[float] = []
    models: Counter[str] = Counter()
    async with model_servers(3, tokens_per_second=200, answer_tokens=SHORT) as (dying, hanging, slow):
        async with _routed([dying.url, hanging.url, slow.url], first_token_timeout=2, parallel=16) as writer:
            await slow.set(tokens_per_second=40)

            async def chat() -> None:
                began, model = time.monotonic(), ""
                async for piece in writer.write(REQUEST):
                    model = piece.model
                models[model] += 1
                took.append(time.monotonic() - began)

            chats = [asyncio.create_task(chat()) for _ in range(CHATS)]
            await asyncio.sleep(0.05)
            await hanging.set(fault="hang")
            dying.process.kill()
            await asyncio.gather(*chats)
        served = {"dying": await dying.answered(), "hanging": await hanging.answered(), "slow": await slow.answered()}
    return {
        "chats": len(took),
        "answered_by": dict(models),
        "served": served,
        "longest_seconds": round(max(took), 2),
        "deadline_seconds": DEADLINE,
    }


# -- the servers


@asynccontextmanager
async def model_servers(
    count: int, *, tokens_per_second: float, answer_tokens: int, parallel: int = 1000
) -> AsyncGenerator[Sequence[ModelServer]]:
    servers: list[ModelServer] = []
    try:
        for _ in range(count):
            command = [sys.executable, "-m", "tests.servers.ollama", "--port", str(_free_port())]
            command += ["--tokens-per-second", str(tokens_per_second), "--answer-tokens", str(answer_tokens)]
            command += ["--first-token-after", "0", "--parallel", str(parallel)]
            ours_first = {**os.environ, "PYTHONPATH": str(ROOT)}  # a dependency brings a package `tests`, too
            process = await asyncio.create_subprocess_exec(*command, env=ours_first, stdout=asyncio.subprocess.PIPE)
            assert process.stdout is not None  # noqa: S101  # it was asked for
            servers.append(ModelServer((await process.stdout.readline()).decode().strip(), process))
        for server in servers:
            await _listening(server.url)
        yield servers
    finally:
        for server in servers:
            if server.process.returncode is None:
                server.process.kill()
            await server.process.wait()


async def _listening(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(30):
        while True:
            try:
                await client.get(f"{url}/api/version")
                return
            except httpx.HTTPError:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def _routed(urls: Sequence[str], **more: Any) -> AsyncGenerator[RoutedWriter]:
    given = {"parallel": PARALLEL, "queue": 1000, "queue_timeout": DEADLINE, "timeout": DEADLINE} | more
    ollama = OllamaSettings.model_validate({"url": urls[0], "urls": list(urls[1:]), **given})
    settings = Settings(ollama=ollama, providers=())
    with tempfile.TemporaryDirectory() as folder:
        async with open_database(SQLiteSettings(), Path(folder)) as database:
            await upgrade(database)
            budgets = budgets_of(settings, database, lambda: datetime.now(UTC))
            async with open_writer(settings, budgets, _no_vectors) as writer:
                await writer.look()
                yield writer


async def _no_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.zeros((len(texts), 8), np.float32)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console, overhead, faults = Console(), found["overhead"], found["faults"]
    table = Table("processor time, microseconds", "raw httpx", "ChatOllama", "ours", title="Beside raw httpx, one run")
    for label, key in (("a token", "microseconds_per_token"), ("a call", "microseconds_per_call")):
        row = overhead[key]
        table.add_row(label, *(str(row[name]) for name in ("raw", "chatollama", "ours")))
    console.print(table)
    console.print(f"Ours adds {overhead['ours_over_chatollama_in_raw']} x raw httpx to a token of ChatOllama.")
    pool = found["pool"]
    console.print(
        f"Chats a second: {pool['servers_1']} with one server, {pool['servers_3']} with three, x{pool['ratio']}."
    )
    served = Table("server", "chats it answered", title=f"{faults['chats']} chats, three servers")
    for name, count in faults["served"].items():
        served.add_row(name, "gone" if count is None else str(count))
    console.print(served)
    console.print(f"Answered by {faults['answered_by']}; the longest took {faults['longest_seconds']} s.")
