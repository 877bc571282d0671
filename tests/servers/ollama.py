"""A server that speaks Ollama's protocol, for tests and load only. It is NOT a language model (see `speaking.py`).

It truncates in silence at `num_ctx`, as the real one does. What it claims about the protocol is checked against the
real server by the contract suite (`ollama_real.py`).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.servers import free_port
from tests.servers.speaking import CHARS_PER_TOKEN, GARBAGE, Call, Fault, Gone, Speaking, from_command_line

__all__ = ["Call", "Fault", "OllamaLike", "running_ollama_like"]


@dataclass
class OllamaLike(Speaking):
    """`models` maps a name to its capabilities; `remote`, a name to the host that really answers (a cloud model)."""

    models: dict[str, list[str]] = field(default_factory=lambda: {"llama3.2:3b": ["completion"]})
    remote: dict[str, str] = field(default_factory=dict[str, str])
    contexts: dict[str, int] = field(default_factory=dict[str, int])  # the longest window of a model, where it is told
    truncate_at: int | None = None  # a lower window than the request asks for, as a server's own limit would be

    @property
    def chats(self) -> list[Call]:
        return [call for call in self.calls if call.path == "/api/chat"]

    def routes(self) -> list[Route]:
        routes = [("/api/version", self.version, "GET"), ("/api/tags", self.tags, "GET")]
        routes += [("/api/ps", self.loaded, "GET"), ("/api/show", self.show, "POST")]
        routes += [("/api/embed", self.embed, "POST"), ("/api/chat", self.chat, "POST")]
        return [Route(path, endpoint, methods=[method]) for path, endpoint, method in routes]

    async def version(self, request: Request) -> Response:
        return JSONResponse({"version": "0.0.0-test"})

    async def tags(self, request: Request) -> Response:
        self.calls.append(Call("/api/tags", {}, "done"))
        if self.fault == "garbage":
            return PlainTextResponse(GARBAGE)
        return JSONResponse({"models": [self._listed(name) for name in self.models]})

    def _listed(self, name: str) -> dict[str, Any]:
        host = self.remote.get(name)
        return {"name": name, "model": name, "size": 1, **({"remote_host": host, "remote_model": name} if host else {})}

    async def show(self, request: Request) -> Response:
        name = (await request.json()).get("model", "")
        if name not in self.models:
            return JSONResponse({"error": f"model '{name}' not found"}, 404)
        info = {"test.context_length": self.contexts[name]} if name in self.contexts else {}
        return JSONResponse({"capabilities": self.models[name], "details": {"family": "test"}, "model_info": info})

    async def loaded(self, request: Request) -> Response:
        return JSONResponse({"models": []})

    async def embed(self, request: Request) -> Response:
        given = (await request.json())["input"]
        texts = [given] if isinstance(given, str) else given
        return JSONResponse({"model": "test", "embeddings": [_vector(text) for text in texts]})

    async def chat(self, request: Request) -> Response:
        call = Call("/api/chat", await request.json())
        self.calls.append(call)
        name = call.body.get("model", "")
        if name not in self.models:
            return self.refused(call, 404, f"model '{name}' not found")
        if (fault := self.faulty(call)) is not None:
            return fault
        if call.body.get("stream", True):
            return StreamingResponse(self._lines(request, call), media_type="application/x-ndjson")
        parts = [json.loads(line) async for line in self._lines(request, call)]
        if not parts:  # the client went
            return Response(status_code=499)
        return JSONResponse(
            parts[-1] | {"message": {"role": "assistant", "content": "".join(p["message"]["content"] for p in parts)}}
        )

    async def _lines(self, request: Request, call: Call) -> AsyncGenerator[bytes]:
        """NDJSON as Ollama sends it: one object per token, the last with the counts."""
        try:
            prompt, counted = self._window(call.body)
            answer = self.answer(call, prompt)
            half = len(answer.split()) // 2
            async for word in self.pieces(request, call, answer):
                if call.tokens_sent == half and self.fault == "garbage_midway":
                    yield b"{half a line\n"
                if call.tokens_sent == half and self.fault == "error_midway":
                    yield json.dumps({"error": "an error was encountered while running the model"}).encode() + b"\n"
                    return
                yield _line(call, word)
            counts = {"prompt_eval_count": counted, "eval_count": call.tokens_sent}
            yield _line(call, "", done=True, done_reason="stop", **counts)
            call.outcome = "done"
        except Gone:
            call.outcome = "cancelled"
        except ConnectionResetError:
            call.outcome = "failed"
            raise
        finally:
            if call.outcome == "running":
                call.outcome = "failed" if self.fault else "cancelled"

    def _window(self, body: dict[str, Any]) -> tuple[str, int]:
        """The prompt as the model would see it, and its tokens: what is over the window is dropped without a word."""
        prompt = "\n".join(message["content"] for message in body["messages"])
        asked = int((body.get("options") or {}).get("num_ctx") or 4096)
        limit = min(asked, self.truncate_at or asked)
        return prompt[-limit * CHARS_PER_TOKEN :], min(limit, max(1, len(prompt) // CHARS_PER_TOKEN))


@contextmanager
def running_ollama_like(*, started: bool = True) -> Generator[OllamaLike]:
    server = OllamaLike(free_port())
    if started:
        server.start()
    try:
        yield server
    finally:
        server.stop()


def _line(call: Call, text: str, *, done: bool = False, **rest: Any) -> bytes:
    message = {"role": "assistant", "content": text}
    head = {"model": call.body["model"], "created_at": "2026-01-01T00:00:00Z", "message": message, "done": done}
    return json.dumps(head | rest).encode() + b"\n"


def _vector(text: str) -> list[float]:
    seed = zlib.crc32(text.encode())
    return [((seed >> i) & 0xFF) / 255 - 0.5 for i in range(16)]


if __name__ == "__main__":
    from_command_line(OllamaLike, __doc__ or "")
