"""Ollama: what its server has, and answers from it through langchain-ollama."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
from ollama import ResponseError

from aegis.errors import AegisError, ModelFailed, ModelUnavailable
from aegis.settings import OllamaSettings
from aegis.telemetry import FIRST_TOKEN_SECONDS, TOKENS
from inference import ChatMessage, Piece, WriteRequest

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk, BaseMessage
    from langchain_ollama import ChatOllama

logger = logging.getLogger(__name__)

PROBE_TIMEOUT = 2.0  # seconds; a server that takes longer to list its models is no help to someone waiting
CHARS_PER_TOKEN = 4  # what tokenizers reach on English; other text takes more tokens, never half as many
LOOPBACK = ("127.0.0.1", "localhost", "::1")
SHOWN_AT_MOST = 20  # models asked for what they can do, so that a server with hundreds is no load


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    chats: bool
    thinks: bool = False


class OllamaServer:
    """What a server at an address has. Every call is short; raises ModelUnavailable when it does not answer."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = url.rstrip("/")
        self._client = client
        self._known: dict[str, Model] = {}

    async def models(self) -> list[Model]:
        """In the server's order, which is newest first. A model is asked once what it can do."""
        listed = await self._get("GET", "/api/tags")
        names = [str(entry["name"]) for entry in listed.get("models") or [] if entry.get("name")]
        self._known = {name: model for name, model in self._known.items() if name in names}
        for name in names[:SHOWN_AT_MOST]:
            if name not in self._known:
                self._known[name] = await self._describe(name)
        return [self._known.get(name) or Model(name, chats=True) for name in names]

    async def _describe(self, name: str) -> Model:
        shown = await self._get("POST", "/api/show", {"model": name})
        capabilities = shown.get("capabilities")
        if capabilities is None:  # servers before 0.6 do not say
            return Model(name, chats="embed" not in name)
        return Model(name, chats="completion" in capabilities, thinks="thinking" in capabilities)

    async def _get(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                response = await self._client.request(method, self.url + path, json=body)
            response.raise_for_status()
            answer = response.json()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ModelUnavailable(
                f"No Ollama server answers at {self.url} ({_reason(error)}).", url=self.url
            ) from error
        if not isinstance(answer, dict):
            raise ModelUnavailable(f"What answers at {self.url} is no Ollama server.", url=self.url)
        return answer  # pyright: ignore[reportUnknownVariableType]


@asynccontextmanager
async def open_server(url: str) -> AsyncGenerator[OllamaServer]:
    async with httpx.AsyncClient(**client_options(url), timeout=PROBE_TIMEOUT) as client:
        yield OllamaServer(url, client)


def pick(models: Sequence[Model], wanted: str) -> Model | None:
    """The wanted model if it is there and chats, otherwise the first that chats."""
    chatting = [model for model in models if model.chats]
    names = (wanted, f"{wanted}:latest")
    return next((model for model in chatting if model.name in names), chatting[0] if chatting else None)


def client_options(url: str) -> dict[str, Any]:
    """For httpx. Without TLS no certificates are loaded (40 ms); a proxy never stands before this machine itself."""
    address = urlsplit(url)
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=20)
    return {
        "verify": address.scheme == "https",
        "trust_env": address.hostname not in LOOPBACK,
        "limits": limits,
    }


class OllamaWriter:
    """Writer port over one model of one server. Built once per model: a ChatOllama costs 40 ms."""

    def __init__(self, settings: OllamaSettings, model: Model) -> None:
        self.name = model.name
        self._settings = settings
        self._chat = _chat_model(settings, model)

    async def close(self) -> None:
        """Close its connections. ChatOllama opens two clients and offers no way to close them."""
        await self._chat._async_client.close()  # pyright: ignore[reportPrivateUsage]
        self._chat._client.close()  # pyright: ignore[reportPrivateUsage]

    async def write(self, request: WriteRequest) -> AsyncGenerator[Piece]:
        """Raises ModelUnavailable before the first piece, ModelFailed after it, or when the prompt was cut."""
        started = time.monotonic()
        shown = False
        usage: dict[str, int] | None = None
        try:
            async with aclosing(self._chunks(request.messages)) as chunks:
                async for chunk in chunks:
                    usage = dict(chunk.usage_metadata) if chunk.usage_metadata else usage  # pyright: ignore[reportAssignmentType]
                    if text := str(chunk.text):
                        if not shown:
                            FIRST_TOKEN_SECONDS.labels(self.name).observe(time.monotonic() - started)
                        shown = True
                        yield Piece(text, self.name)
        except (httpx.HTTPError, OSError, ResponseError, TimeoutError, ValueError) as error:
            # ValueError: a line that is no JSON, or no answer in Ollama's form (pydantic's error is one).
            raise self._translated(error, shown) from error
        yield self._counted(request.messages, usage, shown)

    async def _chunks(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[AIMessageChunk]:
        """Chunks within both deadlines. Cancelled or closed, the connection is closed, which stops the model."""
        # Callbacks of a surrounding graph would stream every token a second time.
        config: Any = {"callbacks": [], "tags": ["nostream"]}
        deadline = asyncio.get_running_loop().time() + self._settings.timeout
        stream: Any = self._chat.astream(_messages(messages), config=config)
        try:
            async with asyncio.timeout(min(self._settings.first_token_timeout, self._settings.timeout)):
                first = await anext(stream, None)
            if first is None:
                return
            yield first
            async for chunk in _until(deadline, stream):
                yield chunk
        finally:
            await stream.aclose()

    def _counted(self, messages: Sequence[ChatMessage], usage: dict[str, int] | None, shown: bool) -> Piece:
        if usage is None:
            raise self._failed("ended its answer before it was done", shown)
        read, written = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
        TOKENS.labels(self.name, "in").inc(read)
        TOKENS.labels(self.name, "out").inc(written)
        if was_cut(messages, read, self._settings.num_ctx):
            estimate = estimated_tokens(messages)
            raise ModelFailed(
                f"{self.name} read only {read} tokens of a prompt of about {estimate}: the server cut it. "
                f"Raise AEGIS_OLLAMA__NUM_CTX (now {self._settings.num_ctx}) or the server's own limit "
                "(OLLAMA_CONTEXT_LENGTH).",
                model=self.name,
                prompt_eval_count=read,
                estimate=estimate,
            )
        if not shown:
            raise self._failed("answered with nothing", shown)
        return Piece("", self.name, read, written)

    def _translated(self, error: Exception, shown: bool) -> AegisError:
        if isinstance(error, ResponseError) and error.status_code == 404:
            return ModelUnavailable(
                f"The server at {self._settings.url} has no model {self.name}. Run `ollama pull {self.name}`.",
                model=self.name,
            )
        return self._failed(_reason(error), shown)

    def _failed(self, reason: str, shown: bool) -> AegisError:
        message = f"{self.name} at {self._settings.url}: {reason}."
        kind = ModelFailed if shown else ModelUnavailable
        return kind(message, model=self.name, url=self._settings.url)


def estimated_tokens(messages: Sequence[ChatMessage]) -> int:
    return sum(len(message.text) for message in messages) // CHARS_PER_TOKEN


def was_cut(messages: Sequence[ChatMessage], read: int, num_ctx: int) -> bool:
    """Whether the server dropped part of the prompt: the window was full, or far fewer tokens were read than sent.

    A server that does not count (0) cannot be judged.
    """
    if read <= 0:
        return False
    return read >= num_ctx or read < estimated_tokens(messages) // 2


async def _until(deadline: float, stream: AsyncIterator[AIMessageChunk]) -> AsyncGenerator[AIMessageChunk]:
    while True:
        async with asyncio.timeout_at(deadline):
            chunk = await anext(stream, None)
        if chunk is None:
            return
        yield chunk


def _chat_model(settings: OllamaSettings, model: Model) -> ChatOllama:
    from langchain_ollama import ChatOllama  # seconds to import: only where there is a server

    timeout = httpx.Timeout(settings.timeout, connect=3.0)
    return ChatOllama(
        model=model.name,
        base_url=settings.url,
        num_ctx=settings.num_ctx,
        temperature=0.1,
        reasoning=False if model.thinks else None,
        client_kwargs={**client_options(settings.url), "timeout": timeout},
    )


def _messages(messages: Sequence[ChatMessage]) -> list[BaseMessage]:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    return [kinds[message.role](message.text) for message in messages]


def _reason(error: Exception) -> str:
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return "no answer in time"
    if isinstance(error, (httpx.ConnectError, ConnectionRefusedError)):
        return "connection refused"
    if isinstance(error, httpx.HTTPStatusError):
        return f"status {error.response.status_code}"
    if isinstance(error, ResponseError):
        return f"status {error.status_code}: {error.error[:200]}"
    if isinstance(error, (httpx.HTTPError, OSError)):
        return f"the connection broke ({type(error).__name__})"
    return f"its answer is not in Ollama's form ({type(error).__name__})"
