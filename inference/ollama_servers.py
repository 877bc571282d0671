"""All Ollama servers of this installation: looked at again and again, so that one that comes or goes needs no restart.

Those on this machine make up one pool, those elsewhere another, where nothing private may go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aegis.errors import ModelUnavailable
from aegis.settings import ModelRole, OllamaSettings
from inference.circuit import Circuits
from inference.ollama import Model, OllamaServer, OllamaWriter, open_server, pick
from inference.pool import Member, Pool
from inference.premises import on_this_machine

logger = logging.getLogger(__name__)

OTHER_ADDRESSES = ("http://127.0.0.1:11434", "http://localhost:11434", "http://host.docker.internal:11434")


@dataclass(frozen=True, slots=True)
class ServerStatus:
    address: str
    state: str  # up, unreachable, resting (its circuit is open)
    busy: int
    served: int
    models: tuple[str, ...]


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
    servers: tuple[ServerStatus, ...] = ()


class Server:
    """One of them: what it has, and its writers, one per model that was asked for."""

    def __init__(self, settings: OllamaSettings, server: OllamaServer, member: Member) -> None:
        self.settings = settings
        self.server = server
        self.member = member
        self.models: list[Model] | None = None
        self._writers: dict[str, OllamaWriter] = {}
        member.opened = self.writer

    @property
    def local(self) -> bool:
        return on_this_machine(self.server.url, self.settings.trusted_hosts)

    def writer(self, name: str) -> OllamaWriter:
        if name not in self._writers:
            model = next((model for model in self.models or [] if model.name == name), Model(name, chats=True))
            self._writers[name] = OllamaWriter(self.settings, model)
        return self._writers[name]

    async def look(self) -> None:
        """Ask what it has. One that is at work and too busy to say keeps what it had."""
        began = time.monotonic()
        try:
            self.models = await self.server.models()
        except ModelUnavailable as error:
            logger.debug("%s", error.message)
            if (
                isinstance(error.__cause__, TimeoutError)
                and self.member.alive_at > began - self.settings.probe_interval
            ):
                return
            self.models = None
        chatting = [model.name for model in self.models or [] if model.chats]
        self.member.models = frozenset(chatting) if self.models is not None else None
        if (chosen := pick(self.models or [], self.settings.model)) and chosen.name not in self._writers:
            await asyncio.to_thread(self.writer, chosen.name)  # 40 ms, which the event loop is spared

    async def try_again(self) -> None:
        """The call on trial that closes the circuit of a server that was left alone, if it is due and well."""
        if not self.member.circuit.due or not (chosen := pick(self.models or [], self.settings.model)):
            return
        seconds = self.settings.first_token_timeout

        async def trial() -> None:
            await self.server.answer_once(chosen.name, self.settings.num_ctx, seconds)

        try:
            await self.member.circuit.tried(trial)
            logger.info("the server at %s answers again", self.server.url)
        except ModelUnavailable as error:
            logger.info("the server at %s is left alone further: %s", self.server.url, error.message)

    def status(self) -> ServerStatus:
        state = "unreachable" if self.models is None else "up" if self.member.circuit.closed else "resting"
        chatting = tuple(model.name for model in self.models or [] if model.chats)
        return ServerStatus(self.server.url, state, self.member.busy, self.member.served, chatting)

    async def close(self) -> None:
        for writer in self._writers.values():
            await writer.close()


class OllamaServers:
    def __init__(self, settings: OllamaSettings, servers: Sequence[Server]) -> None:
        self.settings = settings
        self._servers = tuple(servers)
        self.here = self._pool([server for server in servers if server.local])
        self.elsewhere = self._pool([server for server in servers if not server.local])
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()
        self._trials = dict[Server, asyncio.Task[None]]()
        self._checked_at: float | None = None

    def model_for(self, role: ModelRole, *, local: bool = True) -> str | None:
        """The role's model where a server has it, otherwise one that chats and is there."""
        known = [server.models or [] for server in self._servers if server.local == local]
        for wanted in dict.fromkeys((self.settings.model_for(role), self.settings.model)):
            names = {model.name for models in known for model in models if model.chats}
            if found := next((name for name in (wanted, f"{wanted}:latest") if name in names), None):
                return found
        return next((chosen.name for models in known if (chosen := pick(models, self.settings.model))), None)

    def window(self, model: str) -> int:
        """Tokens: what every call asks for, or what the model can have at most; the least of those that hold it."""
        held = [one for server in self._servers for one in server.models or [] if one.name == model]
        return min([self.settings.num_ctx, *(one.context for one in held if one.context)])

    async def look(self, *, unless_younger_than: float = 0.0) -> ModelStatus:
        """Ask all servers what they have, unless that was done a moment ago. Callers together share one look."""
        if self._looked_at is not None and time.monotonic() - self._looked_at < unless_younger_than:
            return self.status()
        async with self._looking:
            if self._looked_at is None or time.monotonic() - self._looked_at >= unless_younger_than:
                await asyncio.gather(*(server.look() for server in self._servers))
                self._looked_at = time.monotonic()
                self._checked_at = time.time()
                for pool in (self.here, self.elsewhere):
                    pool.serve()
        return self.status()

    def look_soon(self) -> None:
        """The next question looks again, so that a dead server costs one failure only."""
        self._looked_at = None

    async def keep_looking(self) -> None:
        while True:
            await self.look()
            for server in self._servers:
                if server.member.circuit.due and (server not in self._trials or self._trials[server].done()):
                    self._trials[server] = asyncio.create_task(self._try(server))
            await asyncio.sleep(self.settings.probe_interval)

    async def close(self) -> None:
        for trial in self._trials.values():
            trial.cancel()
        await asyncio.gather(*self._trials.values(), return_exceptions=True)
        for server in self._servers:
            await server.close()

    async def _try(self, server: Server) -> None:
        await server.try_again()
        self.here.serve()
        self.elsewhere.serve()

    def _pool(self, servers: Sequence[Server]) -> Pool:
        given = self.settings
        return Pool(
            [server.member for server in servers],
            parallel=given.parallel,
            queue=given.queue,
            queue_timeout=given.queue_timeout,
        )

    def status(self) -> ModelStatus:
        reachable = [server for server in self._servers if server.models is not None]
        models = [model for server in reachable for model in server.models or []]
        seen = status_of(self.settings, models if reachable else None)
        away = [server.server.url for server in reachable if not server.local]
        advice = seen.advice or (_not_trusted(away[0]) if away and not any(s.local for s in reachable) else "")
        return ModelStatus(
            address=", ".join(server.server.url for server in self._servers),
            reachable=seen.reachable,
            models=tuple(dict.fromkeys(seen.models)),
            wanted=seen.wanted,
            used=self.model_for("generation"),
            advice=advice,
            checked_at=self._checked_at,
            servers=tuple(server.status() for server in self._servers),
        )


@asynccontextmanager
async def open_servers(settings: OllamaSettings) -> AsyncGenerator[OllamaServers]:
    """Looks at the servers in the background until closed."""
    circuits = Circuits(settings.failures, settings.rest)
    async with AsyncExitStack() as stack:
        servers: list[Server] = []
        for url in dict.fromkeys((settings.url, *settings.urls)):
            there = settings.model_copy(update={"url": url.rstrip("/")})
            server = await stack.enter_async_context(open_server(there.url, settings.trusted_hosts))
            member = Member(there.url, circuits.of(there.url), _unopened, models=None)
            servers.append(Server(there, server, member))
        together = OllamaServers(settings, servers)
        looking = asyncio.create_task(together.keep_looking(), name="look for model servers")
        try:
            yield together
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await together.close()


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
    """The configured addresses, then the usual others: for doctor, which names the setting when another one answers."""
    addresses = dict.fromkeys((settings.url, *settings.urls, *OTHER_ADDRESSES))
    return list(await asyncio.gather(*(_status_at(settings, url) for url in addresses)))


async def _status_at(settings: OllamaSettings, url: str) -> ModelStatus:
    there = settings.model_copy(update={"url": url})
    async with open_server(url, settings.trusted_hosts) as server:
        try:
            models = await server.models()
        except ModelUnavailable:
            models = None
    status = status_of(there, models)
    if url in (settings.url, *settings.urls) or not status.reachable:
        return status
    return ModelStatus(
        url, True, status.models, status.wanted, status.used, f"Set AEGIS_OLLAMA__URL={url}", status.checked_at
    )


def _unopened(model: str) -> OllamaWriter:
    raise ModelUnavailable(f"The server for {model} is not open yet.")


def _not_trusted(url: str) -> str:
    return (
        f"The Ollama server at {url} runs on another machine, so private questions are not sent there. "
        "If it is yours, name its host in AEGIS_OLLAMA__TRUSTED_HOSTS."
    )


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
