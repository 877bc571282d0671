"""A server that speaks Ollama's protocol, for tests only. It is NOT a language model.

Its answers are sentences of the fenced evidence in the prompt, each with its `[n]` marker, or scripted ones. Speed,
faults and silent truncation at `num_ctx` can be set while it runs; every request is logged, cancelled ones too. What it
claims about the protocol is checked against the real server by the contract suite (`ollama_real.py`).
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
import zlib
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.servers import free_port

Fault = Literal["", "hang", "hang_midway", "error_500", "busy_429", "cut", "garbage", "garbage_midway", "error_midway"]

CHARS_PER_TOKEN = 4
_EVIDENCE = re.compile(r'<evidence id="(\d+)"[^>]*>\n(.*?)\n</evidence>', re.DOTALL)
_QUESTION = re.compile(r"Question: (.*)\s*\Z", re.DOTALL)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]")


@dataclass
class Call:
    """One request. `outcome` is what became of it: running, done, cancelled (the client went), failed."""

    path: str
    body: dict[str, Any]
    outcome: str = "running"
    tokens_sent: int = 0


@dataclass
class OllamaLike:
    """Settable while it runs. `models` maps a name to its capabilities."""

    port: int
    models: dict[str, list[str]] = field(default_factory=lambda: {"llama3.2:3b": ["completion"]})
    tokens_per_second: float = 2000.0
    first_token_after: float = 0.0
    fault: Fault = ""
    truncate_at: int | None = None  # a lower window than the request asks for, as a server's own limit would be
    script: list[str] = field(default_factory=list[str])  # answers to give, in order, before built ones
    calls: list[Call] = field(default_factory=list[Call])
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def chats(self) -> list[Call]:
        return [call for call in self.calls if call.path == "/api/chat"]

    def start(self) -> None:
        """Listen; again after `stop` on the same port."""
        config = uvicorn.Config(_app(self), host="127.0.0.1", port=self.port, log_level="error", lifespan="off")
        config.timeout_graceful_shutdown = 1
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started and time.monotonic() < deadline:
            time.sleep(0.005)

    def stop(self) -> None:
        """Refuse connections from now on, and drop the open ones."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)
        self._server = None


@contextmanager
def running_ollama_like(*, started: bool = True) -> Generator[OllamaLike]:
    server = OllamaLike(free_port())
    if started:
        server.start()
    try:
        yield server
    finally:
        server.stop()


class _Gone(Exception):
    """The client closed the connection."""


def _app(server: OllamaLike) -> Starlette:
    async def version(request: Request) -> Response:
        return JSONResponse({"version": "0.0.0-test"})

    async def tags(request: Request) -> Response:
        server.calls.append(Call("/api/tags", {}, "done"))
        if server.fault == "garbage":
            return PlainTextResponse("<html>not the server you think</html>")
        return JSONResponse({"models": [{"name": name, "model": name, "size": 1} for name in server.models]})

    async def show(request: Request) -> Response:
        name = (await request.json()).get("model", "")
        if name not in server.models:
            return JSONResponse({"error": f"model '{name}' not found"}, 404)
        return JSONResponse({"capabilities": server.models[name], "details": {"family": "test"}, "model_info": {}})

    async def running(request: Request) -> Response:
        return JSONResponse({"models": []})

    async def embed(request: Request) -> Response:
        given = (await request.json())["input"]
        texts = [given] if isinstance(given, str) else given
        return JSONResponse({"model": "test", "embeddings": [_vector(text) for text in texts]})

    async def chat(request: Request) -> Response:
        call = Call("/api/chat", await request.json())
        server.calls.append(call)
        return await _chat(server, request, call)

    routes = [("/api/version", version, "GET"), ("/api/tags", tags, "GET"), ("/api/ps", running, "GET")]
    routes += [("/api/show", show, "POST"), ("/api/embed", embed, "POST"), ("/api/chat", chat, "POST")]
    return Starlette(routes=[Route(path, endpoint, methods=[method]) for path, endpoint, method in routes])


async def _chat(server: OllamaLike, request: Request, call: Call) -> Response:
    name = call.body.get("model", "")
    if name not in server.models:
        return _refused(call, 404, f"model '{name}' not found")
    if server.fault == "error_500":
        return _refused(call, 500, "llama runner process has terminated: exit status 2")
    if server.fault == "busy_429":
        return _refused(call, 429, "server busy, please try again")
    if server.fault == "garbage":
        call.outcome = "failed"
        return PlainTextResponse("<html>not the server you think</html>")
    if call.body.get("stream", True):
        return StreamingResponse(_lines(server, request, call), media_type="application/x-ndjson")
    parts = [json.loads(line) async for line in _lines(server, request, call)]
    return JSONResponse(
        parts[-1] | {"message": {"role": "assistant", "content": "".join(p["message"]["content"] for p in parts)}}
    )


def _refused(call: Call, status: int, message: str) -> Response:
    call.outcome = "failed"
    return JSONResponse({"error": message}, status)


async def _lines(server: OllamaLike, request: Request, call: Call) -> AsyncGenerator[bytes]:
    """NDJSON as Ollama sends it: one object per token, the last with the counts."""
    try:
        prompt, counted = _window(server, call.body)
        words = re.findall(r"\s*\S+", server.script.pop(0) if server.script else _answer(prompt))
        await _pause(request, server.first_token_after)
        if server.fault == "hang":
            await _pause(request, 3600)
        for word in words:
            if call.tokens_sent == len(words) // 2:
                await _midway(server, request)
                if server.fault == "garbage_midway":
                    yield b"{half a line\n"
                if server.fault == "error_midway":
                    yield json.dumps({"error": "an error was encountered while running the model"}).encode() + b"\n"
                    return
            yield _line(call, word)
            call.tokens_sent += 1
            await _pause(request, 1 / server.tokens_per_second)
        counts = {"prompt_eval_count": counted, "eval_count": call.tokens_sent}
        yield _line(call, "", done=True, done_reason="stop", **counts)
        call.outcome = "done"
    except _Gone:
        call.outcome = "cancelled"
    except ConnectionResetError:
        call.outcome = "failed"
        raise
    finally:
        if call.outcome == "running":
            call.outcome = "failed" if server.fault else "cancelled"


async def _midway(server: OllamaLike, request: Request) -> None:
    if server.fault == "cut":
        raise ConnectionResetError("cut on purpose")
    if server.fault == "hang_midway":
        await _pause(request, 3600)


def _line(call: Call, text: str, *, done: bool = False, **rest: Any) -> bytes:
    message = {"role": "assistant", "content": text}
    head = {"model": call.body["model"], "created_at": "2026-01-01T00:00:00Z", "message": message, "done": done}
    return json.dumps(head | rest).encode() + b"\n"


async def _pause(request: Request, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        if await request.is_disconnected():
            raise _Gone
        left = end - time.monotonic()
        if left <= 0:
            return
        await asyncio.sleep(min(left, 0.02))


def _window(server: OllamaLike, body: dict[str, Any]) -> tuple[str, int]:
    """The prompt as the model would see it, and its tokens: what is over the window is dropped without a word."""
    prompt = "\n".join(message["content"] for message in body["messages"])
    asked = int((body.get("options") or {}).get("num_ctx") or 4096)
    limit = min(asked, server.truncate_at or asked)
    return prompt[-limit * CHARS_PER_TOKEN :], min(limit, max(1, len(prompt) // CHARS_PER_TOKEN))


def _answer(prompt: str) -> str:
    """Up to two sentences of the evidence that share most words with the question."""
    asked = _QUESTION.search(prompt)
    words = set(re.findall(r"\w{3,}", asked.group(1).lower())) if asked else set[str]()
    scored = [
        (len(words & set(re.findall(r"\w{3,}", sentence.lower()))), -order, sentence.strip(), number)
        for order, (number, text) in enumerate(_EVIDENCE.findall(prompt))
        for sentence in _SENTENCE.findall(text)
    ]
    best = [item for item in sorted(scored, reverse=True)[:2] if item[0] > 0]
    if not best:
        return "The documents do not say."
    return " ".join(f"{sentence[:-1]} [{number}]." for _, _, sentence, number in best)


def _vector(text: str) -> list[float]:
    seed = zlib.crc32(text.encode())
    return [((seed >> i) & 0xFF) / 255 - 0.5 for i in range(16)]
