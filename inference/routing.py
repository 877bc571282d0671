"""Which writer answers: a model at Ollama while its server answers, the extractive writer otherwise."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from aegis.errors import ModelFailed, ModelUnavailable
from aegis.settings import OllamaSettings
from aegis.telemetry import BACKEND_FAILURES
from inference import Piece, Writer, WriteRequest
from inference.extractive import Embed, ExtractiveWriter
from inference.ollama import Model, OllamaServer, OllamaWriter, open_server, pick

logger = logging.getLogger(__name__)

NO_MODEL = "No language model is configured: this answer is made of sentences from the documents."
OTHER_ADDRESSES = ("http://127.0.0.1:11434", "http://localhost:11434", "http://host.docker.internal:11434")


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What doctor and the page show. `used` is None while answers are extractive; `advice` is empty if all is well."""

    address: str
    reachable: bool
    models: tuple[str, ...]  # those that chat
    wanted: str
    used: str | None
    advice: str
    checked_at: float | None = None  # seconds since 1970; None before the first look


class RoutedWriter:
    """Writer port that looks for a model server again and again, so that one that comes or goes needs no restart."""

    def __init__(self, settings: OllamaSettings, server: OllamaServer, extractive: Writer) -> None:
        self._settings = settings
        self._server = server
        self._extractive = extractive
        self._chosen: OllamaWriter | None = None
        self._writers: dict[str, OllamaWriter] = {}  # by model; as few as the server has
        self._status = status_of(settings, None)
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()

    @property
    def name(self) -> str:
        """Who would answer now."""
        return (self._chosen or self._extractive).name

    def status(self) -> ModelStatus:
        return self._status

    async def write(self, request: WriteRequest) -> AsyncGenerator[Piece]:
        """Never raises for a model's sake: falls back before the first piece, ends early with a note after it."""
        await self.look(unless_younger_than=self._settings.probe_interval)
        note = NO_MODEL if self._status.used is None and not self._status.reachable else self._status.advice
        if (chosen := self._chosen) is not None:
            shown = False
            try:
                async with aclosing(chosen.write(request)) as pieces:
                    async for piece in pieces:
                        shown = shown or bool(piece.text)
                        yield piece
                return
            except (ModelUnavailable, ModelFailed) as error:
                self._left(error)
                if shown:
                    yield Piece("", chosen.name, note=f"The answer may be incomplete. {error.message}")
                    return
                note = f"{error.message} This answer is made of sentences from the documents instead."
        async with aclosing(self._extractive.write(request)) as pieces:
            async for piece in pieces:
                yield piece
        yield Piece("", self._extractive.name, note=note)

    async def look(self, *, unless_younger_than: float = 0.0) -> ModelStatus:
        """Ask the server what it has, unless that was done a moment ago. Callers at the same time share one look."""
        async with self._looking:
            if self._looked_at is None or time.monotonic() - self._looked_at >= unless_younger_than:
                models = await _models(self._server)
                # Building a writer takes 40 ms, which the event loop is spared.
                await asyncio.to_thread(self._choose, models)
                self._looked_at = time.monotonic()
        return self._status

    async def keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._settings.probe_interval)

    async def close(self) -> None:
        for writer in self._writers.values():
            await writer.close()

    def _choose(self, models: list[Model] | None) -> None:
        before = self.name
        picked = pick(models or [], self._settings.model)
        if picked is None:
            self._chosen = None
        else:
            if picked.name not in self._writers:
                self._writers[picked.name] = OllamaWriter(self._settings, picked)
            self._chosen = self._writers[picked.name]
        self._status = status_of(self._settings, models)
        if self.name != before:
            logger.info("answers are now written by %s (was %s)", self.name, before)

    def _left(self, error: ModelUnavailable | ModelFailed) -> None:
        """The next question looks again, so that a dead server costs one failure only."""
        logger.warning("%s", error.message)
        BACKEND_FAILURES.labels("ollama").inc()
        self._looked_at = None


def status_of(settings: OllamaSettings, models: list[Model] | None) -> ModelStatus:
    """`models` is None when no server answers."""
    picked = pick(models or [], settings.model)
    return ModelStatus(
        address=settings.url,
        reachable=models is not None,
        models=tuple(model.name for model in models or [] if model.chats),
        wanted=settings.model,
        used=picked.name if picked else None,
        advice=_advice(settings, models, picked),
        checked_at=time.time(),
    )


async def survey(settings: OllamaSettings) -> list[ModelStatus]:
    """The configured address, then the usual others: for doctor, which names the setting when another one answers."""
    addresses = dict.fromkeys((settings.url, *OTHER_ADDRESSES))
    return list(await asyncio.gather(*(_status_at(settings, url) for url in addresses)))


@asynccontextmanager
async def open_writer(settings: OllamaSettings, embed: Embed) -> AsyncGenerator[RoutedWriter]:
    """Looks for the server in the background until closed. `embed` gives unit vectors, one row per text."""
    async with open_server(settings.url) as server:
        writer = RoutedWriter(settings, server, ExtractiveWriter(embed))
        looking = asyncio.create_task(writer.keep_looking(), name="look for a model server")
        try:
            yield writer
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await writer.close()


async def _status_at(settings: OllamaSettings, url: str) -> ModelStatus:
    there = settings.model_copy(update={"url": url})
    async with open_server(url) as server:
        status = status_of(there, await _models(server))
    if url == settings.url or not status.reachable:
        return status
    return ModelStatus(
        url, True, status.models, status.wanted, status.used, f"Set AEGIS_OLLAMA__URL={url}", status.checked_at
    )


async def _models(server: OllamaServer) -> list[Model] | None:
    try:
        return await server.models()
    except ModelUnavailable as error:
        logger.debug("%s", error.message)
        return None


def _advice(settings: OllamaSettings, models: list[Model] | None, picked: Model | None) -> str:
    if models is None:
        return (
            f"No Ollama server answers at {settings.url}. Start one (`ollama serve`, then "
            f"`ollama pull {settings.model}`) or set AEGIS_OLLAMA__URL to where it runs."
        )
    if picked is None:
        return f"The Ollama server at {settings.url} has no model that chats. Run `ollama pull {settings.model}`."
    if picked.name not in (settings.model, f"{settings.model}:latest"):
        return (
            f"The Ollama server has no {settings.model}; {picked.name} is used. "
            f"Run `ollama pull {settings.model}` or set AEGIS_OLLAMA__MODEL={picked.name}."
        )
    return ""
