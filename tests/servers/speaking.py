"""What the servers that speak a model's protocol share: for tests and load only. They are NOT language models.

Their answers are sentences of the fenced evidence in the prompt, each with its `[n]` marker, or scripted ones. Speed
and faults can be set while they run, by attribute or over HTTP (`POST /_test/set`); every request is logged, also those
that were cancelled (`GET /_test/log`). Each can run as a process: `python -m tests.servers.ollama --help`.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast, get_args

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

Fault = Literal["", "hang", "hang_midway", "error_500", "busy_429", "cut", "garbage", "garbage_midway", "error_midway"]
"""What the next answers suffer. Refusing connections is `stop()`, or the end of the process."""

CHARS_PER_TOKEN = 4
SPEEDS: Mapping[str, tuple[float, float]] = {
    # The table of the report that this project began with: tokens a second, seconds to the first token (its median).
    "llama3.2:3b": (180, 0.110),
    "llama3.2:8b": (85, 0.240),
    "gemma-3-4b-it": (120, 0.180),
    "qwen-turbo": (250, 0.320),
    "qwen-plus": (180, 0.450),
    "qwen3-vl-30b": (120, 0.580),
}
GARBAGE = "<html>not the server you think</html>"
_EVIDENCE = re.compile(r'<evidence id="(\d+)"[^>]*>\n(.*?)\n</evidence>', re.DOTALL)
_QUESTION = re.compile(r"Question: (.*)\s*\Z", re.DOTALL)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]")


class Gone(Exception):
    """The client closed the connection."""


@dataclass
class Call:
    """One request. `outcome` is what became of it: running, done, cancelled (the client went), failed."""

    path: str
    body: dict[str, Any]
    outcome: str = "running"
    tokens_sent: int = 0


@dataclass
class Speaking(ABC):
    """Settable while it runs. `tokens_per_second` 0 is as fast as it can; `parallel` answers at a time, others wait."""

    port: int
    tokens_per_second: float = 2000.0
    first_token_after: float = 0.0
    fault: Fault = ""
    retry_after: float | None = None  # seconds, told with status 429
    parallel: int = 1000
    script: list[str] = field(default_factory=list[str])  # answers to give, in order, before built ones
    responds: Callable[[dict[str, Any]], str] | None = None  # a request's body -> the answer, where no script is left
    calls: list[Call] = field(default_factory=list[Call])
    requests: int = 0  # of any kind, also to addresses that do not exist
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None
    _slots: asyncio.Semaphore | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    @abstractmethod
    def chats(self) -> list[Call]: ...

    @abstractmethod
    def routes(self) -> list[Route]: ...

    def like(self, model: str) -> None:
        """As fast as SPEEDS says of this model."""
        self.tokens_per_second, self.first_token_after = SPEEDS[model]

    def start(self) -> None:
        """Listen; again after `stop` on the same port."""
        self._server = uvicorn.Server(self._config())
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

    def serve(self) -> None:
        """Listen in this thread, until a signal."""
        uvicorn.Server(self._config()).run()

    def _config(self) -> uvicorn.Config:
        self._slots = None  # belongs to the loop that is about to begin
        routes = [*self.routes(), Route("/_test/log", self._log), Route("/_test/set", self._set, methods=["POST"])]
        app = Starlette(routes=routes)

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            self.requests += 1
            await app(scope, receive, send)

        config = uvicorn.Config(counted, host="127.0.0.1", port=self.port, log_level="error", lifespan="off")
        config.timeout_graceful_shutdown = 1
        return config

    async def _log(self, request: Request) -> Response:
        return JSONResponse([asdict(call) for call in self.calls])

    async def _set(self, request: Request) -> Response:
        for name, value in (await request.json()).items():
            setattr(self, name, value)
        return JSONResponse({})

    def answer(self, call: Call, prompt: str) -> str:
        if self.script:
            return self.script.pop(0)
        return built(prompt) if self.responds is None else self.responds(call.body)

    async def pieces(self, request: Request, call: Call, answer: str) -> AsyncGenerator[str]:
        """The answer's tokens at the set speed, with the set fault. Raises Gone, ConnectionResetError."""
        words = re.findall(r"\s*\S+", answer)
        self._slots = self._slots or asyncio.Semaphore(self.parallel)
        async with self._slots:
            await pause(request, self.first_token_after)
            if self.fault == "hang":
                await pause(request, 3600)
            for word in words:
                if call.tokens_sent == len(words) // 2:
                    await self._midway(request)
                yield word
                call.tokens_sent += 1
                if self.tokens_per_second:
                    await pause(request, 1 / self.tokens_per_second)

    async def _midway(self, request: Request) -> None:
        if self.fault == "cut":
            raise ConnectionResetError("cut on purpose")
        if self.fault == "hang_midway":
            await pause(request, 3600)

    def faulty(self, call: Call) -> Response | None:
        """The answer that stands for a fault before the first token."""
        if self.fault == "error_500":
            return self.refused(call, 500, "llama runner process has terminated: exit status 2")
        if self.fault == "busy_429":
            return self.refused(call, 429, "server busy, please try again")
        if self.fault == "garbage":
            call.outcome = "failed"
            return PlainTextResponse(GARBAGE)
        return None

    def refused(self, call: Call, status: int, message: str) -> Response:
        call.outcome = "failed"
        wait = {"Retry-After": f"{self.retry_after:g}"} if status == 429 and self.retry_after is not None else {}
        return JSONResponse(self.error(message), status, wait)

    def error(self, message: str) -> dict[str, Any]:
        """A message in the protocol's form."""
        return {"error": message}


async def pause(request: Request, seconds: float) -> None:
    """Raises Gone as soon as the client is."""
    end = time.monotonic() + seconds
    while True:
        if await request.is_disconnected():
            raise Gone
        left = end - time.monotonic()
        if left <= 0:
            return
        await asyncio.sleep(min(left, 0.02))


def built(prompt: str) -> str:
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


def from_command_line(kind: type[Speaking], doc: str) -> None:
    """Run one of these servers until a signal. Prints its address."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--port", type=int, default=11434)
    parser.add_argument("--tokens-per-second", type=float, default=85.0, help="0: as fast as it can")
    parser.add_argument("--first-token-after", type=float, default=0.12, help="seconds")
    parser.add_argument("--like", choices=sorted(SPEEDS), help="as fast as this model was reported to be")
    parser.add_argument("--parallel", type=int, default=1000, help="answers at a time; others wait")
    parser.add_argument("--fault", choices=get_args(Fault), default="")
    parser.add_argument("--retry-after", type=float, default=None, help="seconds, with fault busy_429")
    parser.add_argument("--answer-tokens", type=int, default=0, help="length of every answer; 0: from the evidence")
    given = vars(parser.parse_args())
    tokens, like = given.pop("answer_tokens"), given.pop("like")
    server = cast(Any, kind)(**given)
    if like:
        server.like(like)
    if tokens:
        server.script = _Endless(" ".join(["token"] * tokens))
    print(server.url, flush=True)  # noqa: T201  # whoever started it reads where it is
    server.serve()


class _Endless(list[str]):
    """A script that never ends."""

    def __init__(self, answer: str) -> None:
        super().__init__([answer])

    def pop(self, index: Any = -1) -> str:
        return self[0]
