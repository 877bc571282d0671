"""What embedders on a server have in common: batches, bounds, and mistrust of what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from aegis.errors import BudgetExhausted, ConfigurationError, ModelFailed, ModelUnavailable
from inference.paying import Meter
from inference.tokens import most_read
from inference.waiting import busy
from retrieval.embedding.vectors import unit
from retrieval.store import Dense

PARALLEL = 4  # requests under way at a time
QUERY_SECONDS = 10.0  # a model that is not in memory yet takes a few
AWAY_SECONDS = 5.0
MOST_BYTES = 64_000_000  # of one answer: 64 vectors of 4,096 numbers are 6 MB
_LATER = (408, 425, 429)
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.InvalidURL)

Ask = Callable[[Sequence[str]], Awaitable[tuple[Sequence[Sequence[float]], int | None]]]


@dataclass(slots=True)
class RemoteEmbedder:
    """`ask` sends one batch of texts, none of them blank, and returns as many vectors, and the tokens that the server
    counted, where it does. `meter`: what is paid for them; all batches of a call are set aside together, so that none
    is paid for in vain because there is no money for the next.

    Somebody waits for a question: it gets QUERY_SECONDS, and fails at once for a while after it got no answer.
    """

    name: str
    dimensions: int
    ask: Ask
    batch: int
    query_prefix: str = ""
    passage_prefix: str = ""
    sends_to: str = ""  # the server's address
    meter: Meter | None = None
    elsewhere: bool = True  # unless its server is known to be this machine, and costs nothing
    _away_until: float = 0.0  # by time.monotonic
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PARALLEL))

    async def embed(self, texts: Sequence[str]) -> Dense:
        return await self._embedded([self.passage_prefix + text if text.strip() else "" for text in texts])

    async def embed_query(self, text: str) -> Dense:
        if time.monotonic() < self._away_until:
            raise ModelUnavailable(f"The embedding server of {self.name} did not answer just now.")
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                return (await self._embedded([self.query_prefix + text if text.strip() else ""]))[0]
        except BudgetExhausted:
            raise  # it says itself what is the matter, and the server is well
        except (ModelUnavailable, TimeoutError) as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            raise ModelUnavailable(f"The embedding server of {self.name} does not answer: {error}") from error

    async def _embedded(self, texts: Sequence[str]) -> Dense:
        """Blank texts are not sent: servers refuse them."""
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        places = [place for place, text in enumerate(texts) if text]
        batches = [places[start : start + self.batch] for start in range(0, len(places), self.batch)]
        async with self._paid([texts[place] for place in places]) as reads:
            asked = [asyncio.ensure_future(self._one([texts[place] for place in batch], reads)) for batch in batches]
            try:
                for batch, found in zip(batches, await asyncio.gather(*asked), strict=True):
                    vectors[batch] = found
            finally:
                for one in asked:
                    one.cancel()
                await asyncio.gather(*asked, return_exceptions=True)
        return vectors

    @asynccontextmanager
    async def _paid(self, texts: Sequence[str]) -> AsyncGenerator[list[int]]:
        """Takes the tokens of each request that was made. Raises BudgetExhausted before any is."""
        reads: list[int] = []
        if self.meter is None or not texts:
            yield reads
            return
        async with self.meter.call(most_read(texts)) as bill:
            try:
                yield reads
            finally:
                bill.counted(sum(reads))

    async def _one(self, texts: Sequence[str], reads: list[int]) -> Dense:
        async with self._slots:
            read = most_read(texts)  # unless it is known better
            try:
                given, counted = await self.ask(texts)
                read = read if counted is None else counted
            except (ModelUnavailable, ModelFailed) as error:
                read = read if error.details.get("sent", True) else 0
                raise
            finally:
                reads.append(read)
        try:
            vectors = np.asarray(given, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ModelFailed(f"The embedding server gave {self.name} vectors that are not numbers.") from error
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            raise ModelFailed(
                f"The embedding server gave {vectors.shape} numbers for {len(texts)} texts ({self.name})."
            )
        if vectors.shape[1] != self.dimensions:
            raise ConfigurationError(
                f"The embedding model gives vectors of {vectors.shape[1]} dimensions, not {self.dimensions}: "
                f"set AEGIS_EMBEDDER__DIMENSIONS={vectors.shape[1]}."
            )
        return unit(vectors)


async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any], missing: str) -> dict[str, Any]:
    """The answer's JSON object. `missing` is what to do when the server does not have the model (404).

    Detail `sent` of an error: False where the server did nothing, so that nothing is paid.
    """
    try:
        async with client.stream("POST", path, json=body) as response:
            content = await _read(response)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ModelUnavailable(
            f"The embedding server at {client.base_url} does not answer ({type(error).__name__}: {str(error)[:200]}).",
            sent=not isinstance(error, _NOT_SENT),
        ) from error
    if response.status_code == 404:
        raise ModelUnavailable(
            f"The embedding server at {client.base_url} does not have the model. {missing}", sent=False
        )
    if response.status_code in _LATER:
        message = f"The embedding server at {client.base_url} has enough to do ({response.status_code})."
        raise busy(message, response.headers, sent=False)
    if response.status_code >= 500:
        raise ModelUnavailable(
            f"The embedding server at {client.base_url} answered {response.status_code}.", sent=False
        )
    if not response.is_success:
        raise ModelFailed(
            f"The embedding server at {client.base_url} refused ({response.status_code}): "
            f"{content[:300].decode('utf-8', 'replace')}",
            sent=False,
        )
    return _object(client, response, content)


async def _read(response: httpx.Response) -> bytes:
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > MOST_BYTES:
            raise ModelFailed(f"The embedding server answered more than {MOST_BYTES:,} bytes. Set a smaller batch.")
    return bytes(content)


def _object(client: httpx.AsyncClient, response: httpx.Response, content: bytes) -> dict[str, Any]:
    import orjson

    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ModelFailed(f"What answers at {client.base_url} is no embedding server: {response.url}") from error
    if not isinstance(answer, dict):
        raise ModelFailed(f"What answers at {client.base_url} is no embedding server: {response.url}")
    return answer
