"""Servers that speak OpenAI's protocol: OpenAI itself, DashScope, vLLM, llama.cpp, through langchain-openai."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import httpx

from aegis.errors import AegisError, ConfigurationError, ModelFailed, ModelUnavailable
from aegis.settings import CompatibleSettings, DashScopeSettings, OpenAISettings
from inference import Piece, WriteRequest
from inference.streaming import Streamed
from inference.waiting import busy

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI

AnyOpenAI = DashScopeSettings | OpenAISettings | CompatibleSettings

CONNECT_SECONDS = 5.0
NO_KEY = "none"  # the library insists on one; servers of one's own ask for none


class OpenAIWriter:
    """Writer port over one model of one server. It never repeats a call: a repetition would be paid twice."""

    def __init__(self, settings: AnyOpenAI, model: str, *, trust_env: bool) -> None:
        self.name = model
        self.window = settings.window
        self._settings = settings
        limits = httpx.Limits(max_connections=settings.parallel, max_keepalive_connections=20)
        timeout = httpx.Timeout(settings.timeout, connect=CONNECT_SECONDS)
        verify = settings.url.startswith("https:")
        # Without redirects: what is sent here goes nowhere else.
        self._client = httpx.AsyncClient(
            verify=verify, trust_env=trust_env, follow_redirects=False, limits=limits, timeout=timeout
        )
        self._chat = _chat_model(settings, model, self._client)

    async def close(self) -> None:
        await self._client.aclose()

    async def write(self, request: WriteRequest) -> AsyncGenerator[Piece]:
        """Raises ModelUnavailable before the first piece, ModelFailed after it. Detail `sent`: it may cost money."""
        from openai import OpenAIError

        given, answer = self._settings, Streamed(self._chat, self.name)
        form = {} if request.schema is None else {"extra_body": _answer_form(request.schema)}
        stream = answer.pieces(request, first=given.first_token_timeout, timeout=given.timeout, **form)
        try:
            async with aclosing(stream) as pieces:
                async for piece in pieces:
                    yield piece
        except (OpenAIError, httpx.HTTPError, OSError, TimeoutError, ValueError, TypeError, KeyError) as error:
            raise self._translated(error, answer.shown) from error
        usage = answer.usage
        if not answer.shown:
            raise self._failed("answered with nothing", shown=False)
        yield Piece("", self.name, *((usage["input_tokens"], usage["output_tokens"]) if usage else (0, 0)))

    def _translated(self, error: Exception, shown: bool) -> AegisError:
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        if isinstance(error, (TimeoutError, APITimeoutError, httpx.TimeoutException)):
            return self._failed("no answer in time", shown, late=True)
        if isinstance(error, APIStatusError) and not shown:
            return self._refused(error)
        if isinstance(error, APIConnectionError):
            refused = isinstance(error.__cause__, httpx.ConnectError)
            return self._failed("connection refused" if refused else "the connection broke", shown, sent=not refused)
        if isinstance(error, (httpx.HTTPError, OSError)):
            return self._failed(f"the connection broke ({type(error).__name__})", shown)
        return self._failed(f"its answer is not in OpenAI's form ({type(error).__name__})", shown)

    def _refused(self, error: Any) -> AegisError:
        """A status instead of an answer: nothing was written, nothing is paid."""
        status, where = int(error.status_code), f"{self._settings.name} ({self._settings.url})"
        if status in (401, 403):
            return ModelUnavailable(f"{where} does not accept the API key (status {status}).", sent=False)
        if status == 404:
            return ModelUnavailable(f"{where} has no model {self.name}.", model=self.name, sent=False)
        if status == 429:
            return busy(f"{where} has enough to do (status 429).", error.response.headers, sent=False)
        return self._failed(f"status {status}", shown=False, sent=False)

    def _failed(self, reason: str, shown: bool, *, late: bool = False, sent: bool = True) -> AegisError:
        kind = ModelFailed if shown else ModelUnavailable
        return kind(f"{self.name} at {self._settings.name}: {reason}.", model=self.name, late=late, sent=sent)


def _answer_form(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Past the library, which would read such an answer as a whole instead of piece by piece."""
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


def _chat_model(settings: AnyOpenAI, model: str, client: httpx.AsyncClient) -> ChatOpenAI:
    from langchain_openai import ChatOpenAI  # a second to import: only where one is configured

    key = settings.api_key.get_secret_value() or NO_KEY
    given: dict[str, Any] = {
        "model": model,
        "base_url": settings.url,
        "api_key": key,
        "temperature": 0.1,
        "max_tokens": settings.max_tokens,
        "max_retries": 0,
        "timeout": settings.timeout,
        "stream_usage": True,
        "stream_chunk_timeout": None,
        "use_responses_api": False,
        "http_async_client": client,
        "http_client": httpx.Client(verify=False, trust_env=False),  # noqa: S501  # never used; the default costs 40 ms
        "openai_proxy": None,  # nor what the environment says
        "organization": None,
    }
    chat = ChatOpenAI(**given)
    if chat.openai_api_base != settings.url:  # the environment can name a gateway that takes its place
        raise ConfigurationError(f"Something in the environment sends what is meant for {settings.url} elsewhere.")
    return chat
