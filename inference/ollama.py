"""Ollama: what its server has, and answers from it through langchain-ollama."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
from ollama import ResponseError

from aegis.errors import AegisError, ModelFailed, ModelUnavailable, PromptCut
from aegis.settings import OllamaSettings
from inference import ChatMessage, Piece, WriteRequest
from inference.premises import on_this_machine
from inference.streaming import Streamed
from inference.waiting import busy

if TYPE_CHECKING:
    from langchain_ollama import ChatOllama

logger = logging.getLogger(__name__)

PROBE_TIMEOUT = 2.0  # seconds; a server that takes longer to list its models is no help to someone waiting
CHARS_PER_TOKEN = 4  # what tokenizers reach on English; other text takes more tokens, never half as many
BUSY = (429, 503)
_RUNS = re.compile(r"([^\w])\1+")  # rules and indents, which take few tokens
SHOWN_AT_MOST = 20  # models asked for what they can do, so that a server with hundreds is no load


@dataclass(frozen=True, slots=True)
class Model:
    """`context`: the longest window it can have, in tokens. `remote`: its server hands prompts on to another host."""

    name: str
    chats: bool
    thinks: bool = False
    context: int | None = None
    remote: bool = False


class OllamaServer:
    """What a server at an address has. Every call is short; raises ModelUnavailable when it does not answer."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = url.rstrip("/")
        self._client = client
        self._known: dict[str, Model] = {}

    async def models(self) -> list[Model]:
        """In the server's order, which is newest first. A model is asked once what it can do."""
        listed = await self._get("GET", "/api/tags")
        entries = {str(entry["name"]): entry for entry in listed.get("models") or [] if entry.get("name")}
        self._known = {name: model for name, model in self._known.items() if name in entries}
        for name in [name for name in entries if name not in self._known][:SHOWN_AT_MOST]:
            self._known[name] = (
                Model(name, chats=False, remote=True) if _remote(entries[name]) else await self._describe(name)
            )
        return [self._known.get(name) or Model(name, chats=False) for name in entries]

    async def _describe(self, name: str) -> Model:
        shown = await self._get("POST", "/api/show", {"model": name})
        if shown.get("remote_host"):
            return Model(name, chats=False, remote=True)
        capabilities, context = shown.get("capabilities"), _context(shown)
        if capabilities is None:  # servers before 0.6 do not say
            return Model(name, chats="embed" not in name, context=context)
        return Model(name, "completion" in capabilities, "thinking" in capabilities, context)

    async def answer_once(self, model: str, num_ctx: int, seconds: float) -> None:
        """Make the model say one token, with the window that every call has: another would load it anew."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "Hello"}],
            "stream": False,
            "options": {"num_ctx": num_ctx, "num_predict": 1},
        }
        await self._get("POST", "/api/chat", body, seconds)

    async def _get(
        self, method: str, path: str, body: dict[str, Any] | None = None, seconds: float = PROBE_TIMEOUT
    ) -> dict[str, Any]:
        try:
            async with asyncio.timeout(seconds):
                response = await self._client.request(method, self.url + path, json=body, timeout=seconds)
            response.raise_for_status()
            answer = response.json()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ModelUnavailable(
                f"No Ollama server answers at {self.url} ({_reason(error)}).", url=self.url
            ) from error
        if not isinstance(answer, dict):
            raise ModelUnavailable(f"What answers at {self.url} is no Ollama server.", url=self.url)
        return answer  # pyright: ignore[reportUnknownVariableType]


def _remote(entry: dict[str, Any]) -> bool:
    """Ollama lists models that run at its maker's beside those that run here."""
    return bool(entry.get("remote_host")) or str(entry["name"]).endswith(("-cloud", ":cloud"))


def _context(shown: dict[str, Any]) -> int | None:
    told = (value for key, value in (shown.get("model_info") or {}).items() if key.endswith(".context_length"))
    return next((value for value in told if isinstance(value, int) and value > 0), None)


@asynccontextmanager
async def open_server(url: str, trusted_hosts: Sequence[str] = ()) -> AsyncGenerator[OllamaServer]:
    async with httpx.AsyncClient(**client_options(url, trusted_hosts), timeout=PROBE_TIMEOUT) as client:
        yield OllamaServer(url, client)


def pick(models: Sequence[Model], wanted: str) -> Model | None:
    """The wanted model if it is there and chats, otherwise the first that chats."""
    chatting = [model for model in models if model.chats]
    names = (wanted, f"{wanted}:latest")
    return next((model for model in chatting if model.name in names), chatting[0] if chatting else None)


def client_options(url: str, trusted_hosts: Sequence[str] = ()) -> dict[str, Any]:
    """For httpx. Without TLS no certificates are loaded (40 ms). What is sent to this machine stays there: no proxy
    stands before it, and no answer leads elsewhere."""
    return {
        "verify": urlsplit(url).scheme == "https",
        "trust_env": not on_this_machine(url, trusted_hosts),
        "follow_redirects": False,
        "limits": httpx.Limits(max_connections=1000, max_keepalive_connections=20),
    }


class OllamaWriter:
    """Writer port over one model of one server. Built once per model: a ChatOllama costs 40 ms."""

    def __init__(self, settings: OllamaSettings, model: Model) -> None:
        self.name = model.name
        self.window = min(settings.num_ctx, model.context or settings.num_ctx)
        self._settings = settings
        self._chat = _chat_model(settings, model)

    async def close(self) -> None:
        """Close its connections. ChatOllama opens two clients and offers no way to close them."""
        await self._chat._async_client.close()  # pyright: ignore[reportPrivateUsage]
        self._chat._client.close()  # pyright: ignore[reportPrivateUsage]

    async def write(self, request: WriteRequest) -> AsyncGenerator[Piece]:
        """Raises ModelUnavailable before the first piece; ModelFailed after it, PromptCut when the prompt was cut."""
        given, answer = self._settings, Streamed(self._chat, self.name)
        form = {} if request.schema is None else {"format": request.schema}
        stream = answer.pieces(request, first=given.first_token_timeout, timeout=given.timeout, **form)
        try:
            async with aclosing(stream) as pieces:
                async for piece in pieces:
                    yield piece
        except (httpx.HTTPError, OSError, ResponseError, TimeoutError, ValueError, KeyError) as error:
            # ValueError: a line that is no JSON, or no answer in Ollama's form (pydantic's error is one).
            raise self._translated(error, answer.shown) from error
        if (usage := answer.usage) is None:
            raise self._failed("ended its answer before it was done", answer.shown)
        yield self._counted(request.messages, usage["input_tokens"], usage["output_tokens"], answer.shown)

    def _counted(self, messages: Sequence[ChatMessage], read: int, written: int, shown: bool) -> Piece:
        if was_cut(messages, read, self.window):
            estimate = estimated_tokens(messages)
            raise PromptCut(
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
        if isinstance(error, ResponseError) and error.status_code in BUSY and not shown:
            message = f"{self.name} at {self._settings.url}: {_reason(error)}."
            return busy(message, _headers(error), url=self._settings.url)
        return self._failed(_reason(error), shown, late=isinstance(error, (TimeoutError, httpx.TimeoutException)))

    def _failed(self, reason: str, shown: bool, late: bool = False) -> AegisError:
        message = f"{self.name} at {self._settings.url}: {reason}."
        kind = ModelFailed if shown else ModelUnavailable
        return kind(message, model=self.name, url=self._settings.url, late=late)


def _headers(error: ResponseError) -> Mapping[str, str]:
    """The library keeps an answer's status and text; what its error was made from still has the headers."""
    made_from = error.__context__
    return made_from.response.headers if isinstance(made_from, httpx.HTTPStatusError) else {}


def estimated_tokens(messages: Sequence[ChatMessage]) -> int:
    """What tokenizers make of it at least about: runs of the same sign count once."""
    return sum(len(_RUNS.sub(r"\1", message.text)) for message in messages) // CHARS_PER_TOKEN


def was_cut(messages: Sequence[ChatMessage], read: int, window: int) -> bool:
    """Whether the server dropped part of the prompt: the window was full, or far fewer tokens were read than sent.

    A server that does not count (0) cannot be judged.
    """
    if read <= 0:
        return False
    return read >= window or read < estimated_tokens(messages) // 2


def _chat_model(settings: OllamaSettings, model: Model) -> ChatOllama:
    from langchain_ollama import ChatOllama  # seconds to import: only where there is a server

    timeout = httpx.Timeout(settings.timeout, connect=3.0)
    return ChatOllama(
        model=model.name,
        base_url=settings.url,
        num_ctx=settings.num_ctx,
        temperature=0.1,
        reasoning=False if model.thinks else None,
        client_kwargs={**client_options(settings.url, settings.trusted_hosts), "timeout": timeout},
    )


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
