"""A server that speaks OpenAI's chat protocol, for tests and load only. It is NOT a language model (see `speaking.py`).

It asks for `api_key` where one is set, stops at `max_tokens`, and counts in the last chunk when `include_usage` is set,
as OpenAI, DashScope, vLLM and llama.cpp do.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.servers import free_port
from tests.servers.speaking import CHARS_PER_TOKEN, GARBAGE, Call, Gone, Speaking, from_command_line

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"


@dataclass
class OpenAILike(Speaking):
    model: str = "gpt-4o-mini"
    api_key: str = ""

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def chats(self) -> list[Call]:
        return [call for call in self.calls if call.path == CHAT]

    def error(self, message: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": "test", "code": None}}

    def routes(self) -> list[Route]:
        return [
            Route("/v1/models", self.models, methods=["GET"]),
            Route(CHAT, self.chat, methods=["POST"]),
            Route(EMBEDDINGS, self.embeddings, methods=["POST"]),
        ]

    async def models(self, request: Request) -> Response:
        if self.fault == "garbage":
            return PlainTextResponse(GARBAGE)
        return JSONResponse({"object": "list", "data": [{"id": self.model, "object": "model"}]})

    async def embeddings(self, request: Request) -> Response:
        call = Call(EMBEDDINGS, await request.json(), "done")
        self.calls.append(call)
        given = call.body["input"]
        texts = [given] if isinstance(given, str) else given
        data = [{"object": "embedding", "index": i, "embedding": [1.0, float(len(t))]} for i, t in enumerate(texts)]
        return JSONResponse({"object": "list", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}})

    async def chat(self, request: Request) -> Response:
        call = Call(CHAT, await request.json())
        self.calls.append(call)
        if self.api_key and request.headers.get("authorization") != f"Bearer {self.api_key}":
            return self.refused(call, 401, "Incorrect API key provided")
        if call.body.get("model") != self.model:
            return self.refused(call, 404, f"The model {call.body.get('model')} does not exist")
        if (fault := self.faulty(call)) is not None:
            return fault
        if call.body.get("stream"):
            return StreamingResponse(self._events(request, call), media_type="text/event-stream")
        text = "".join([piece async for piece in self.pieces(request, call, self._answer(call))])
        call.outcome = "done"
        message = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return JSONResponse(_head(call, "chat.completion") | {"choices": [message], "usage": _usage(call)})

    def _answer(self, call: Call) -> str:
        answer = self.answer(call, _prompt(call))
        limit = call.body.get("max_completion_tokens") or call.body.get("max_tokens")
        return "".join(re.findall(r"\s*\S+", answer)[:limit])

    async def _events(self, request: Request, call: Call) -> AsyncGenerator[bytes]:
        try:
            answer = self._answer(call)
            half = len(answer.split()) // 2
            async for word in self.pieces(request, call, answer):
                if call.tokens_sent == half and self.fault == "garbage_midway":
                    yield b"data: {half an event\n\n"
                if call.tokens_sent == half and self.fault == "error_midway":
                    yield _event(self.error("The server had an error while processing your request"))
                    return
                yield _event(_delta(call, {"role": "assistant", "content": word}))
            yield _event(_delta(call, {}, "stop"))
            if (call.body.get("stream_options") or {}).get("include_usage"):
                yield _event(_head(call) | {"choices": [], "usage": _usage(call)})
            yield b"data: [DONE]\n\n"
            call.outcome = "done"
        except Gone:
            call.outcome = "cancelled"
        except ConnectionResetError:
            call.outcome = "failed"
            raise
        finally:
            if call.outcome == "running":
                call.outcome = "failed" if self.fault else "cancelled"


@contextmanager
def running_openai_like(*, started: bool = True, **given: Any) -> Generator[OpenAILike]:
    server = OpenAILike(free_port(), **given)
    if started:
        server.start()
    try:
        yield server
    finally:
        server.stop()


def _prompt(call: Call) -> str:
    return "\n".join(str(message["content"]) for message in call.body["messages"])


def _usage(call: Call) -> dict[str, int]:
    read = max(1, len(_prompt(call)) // CHARS_PER_TOKEN)
    return {
        "prompt_tokens": read,
        "completion_tokens": call.tokens_sent,
        "total_tokens": read + call.tokens_sent,
    }


def _head(call: Call, kind: str = "chat.completion.chunk") -> dict[str, Any]:
    return {"id": "chatcmpl-test", "object": kind, "created": 1767225600, "model": call.body["model"]}


def _delta(call: Call, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return _head(call) | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


if __name__ == "__main__":
    from_command_line(OpenAILike, __doc__ or "")
