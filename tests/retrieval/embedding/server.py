"""A server that speaks the embedding protocols of Ollama and OpenAI, for tests only. Its vectors count words."""

from __future__ import annotations

import asyncio
import threading
import time
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.servers import free_port

WIDTH = 64
MODELS = ("bge-m3", "text-embedding-3-small")
Vectors = list[list[float]]
Fault = Literal["", "hang", "error_500", "busy_429", "refused_400", "garbage", "nan", "wide", "short", "no_data"]


@dataclass
class EmbeddingServer:
    """Settable while it runs. OpenAI's entries come in reverse order: their index counts."""

    port: int
    fault: Fault = ""
    models: tuple[str, ...] = MODELS
    counts: bool = True  # whether OpenAI's protocol tells the tokens: one a word
    sizes: list[int] = field(default_factory=list[int])  # texts of each request
    texts: list[str] = field(default_factory=list[str])
    keys: list[str] = field(default_factory=list[str])

    def renew(self) -> None:
        """As it was at first."""
        self.fault, self.models, self.counts = "", MODELS, True
        for noted in (self.sizes, self.texts, self.keys):
            noted.clear()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running_embedding_server() -> Generator[EmbeddingServer]:
    state = EmbeddingServer(free_port())
    config = uvicorn.Config(_app(state), host="127.0.0.1", port=state.port, log_level="error", lifespan="off")
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 10
    while not server.started and time.monotonic() < until:
        time.sleep(0.005)
    try:
        yield state
    finally:
        server.should_exit = True
        thread.join(10)


def vector(text: str) -> list[float]:
    found = [0.0] * WIDTH
    for word in text.lower().split():
        found[zlib.crc32(word.encode()) % WIDTH] += 1.0
    return found


def _app(state: EmbeddingServer) -> Starlette:
    async def ollama(request: Request) -> Response:
        return await _answer(state, request, _as_ollama)

    async def openai(request: Request) -> Response:
        state.keys.append(request.headers.get("authorization", ""))
        return await _answer(state, request, _as_openai)

    return Starlette(
        routes=[Route("/api/embed", ollama, methods=["POST"]), Route("/v1/embeddings", openai, methods=["POST"])]
    )


def _as_ollama(vectors: Vectors) -> dict[str, Any]:
    return {"embeddings": vectors}


def _as_openai(vectors: Vectors) -> dict[str, Any]:
    return {"data": [{"index": index, "embedding": each} for index, each in reversed(list(enumerate(vectors)))]}


def tokens(texts: list[str]) -> int:
    return sum(len(text.split()) for text in texts)


async def _answer(state: EmbeddingServer, request: Request, shaped: Callable[[Vectors], dict[str, Any]]) -> Response:
    body = await request.json()
    texts: list[str] = body["input"]
    state.sizes.append(len(texts))
    state.texts += texts
    if body["model"] not in state.models:
        return JSONResponse({"error": "model not found"}, 404)
    if state.fault == "hang":
        await asyncio.sleep(1)
    status = {"error_500": 500, "busy_429": 429, "refused_400": 400}.get(state.fault)
    if status:
        return JSONResponse({"error": "on purpose"}, status)
    if state.fault == "garbage":
        return PlainTextResponse("<html>not the server you think</html>")
    if state.fault == "no_data":
        return JSONResponse({"ok": True})
    if state.fault == "nan":
        return PlainTextResponse('{"embeddings": [["x"]], "data": [{"index": 0, "embedding": ["x"]}]}')
    vectors = [vector(text) for text in texts]
    if state.fault == "wide":
        vectors = [[*each, 0.0] for each in vectors]
    if state.fault == "short":
        vectors = vectors[1:]
    usage = {"usage": {"prompt_tokens": tokens(texts), "total_tokens": tokens(texts)}} if state.counts else {}
    return JSONResponse(shaped(vectors) | usage)
