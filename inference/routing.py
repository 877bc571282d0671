"""Which writer answers: models on this machine first, then cloud providers in their order, at last the extractive one.

Everything is private unless the request says otherwise: then only what runs on this machine is asked, whatever else is
configured. A paid call is reserved in the budgets before it is made.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from datetime import datetime

from aegis.database import Database
from aegis.errors import BudgetExhausted, ModelFailed, ModelUnavailable, PromptCut
from aegis.settings import CloudSettings, ModelRole, Settings
from inference import ChatMessage, Choice, Offer, Piece, Writer, WriteRequest, tokens
from inference.budgets import EMBEDDER, Budgets, Limits
from inference.extractive import Closer, Embed, ExtractiveWriter
from inference.ollama_servers import ModelStatus, OllamaServers, open_servers
from inference.paying import paid
from inference.prices import NANO, Prices, price_advice, unpriced
from inference.providers import Source, check_names, ollama_source, remote_source

logger = logging.getLogger(__name__)

NO_MODEL = "No language model is configured: this answer is made of sentences from the documents."
EXTRACTS = "This answer is made of sentences from the documents instead."
PRIVATE = "Cloud models were not asked, because this conversation or one of its documents is private."


class RoutedWriter:
    """Writer port over everything that can write."""

    def __init__(
        self,
        ollama: OllamaServers,
        sources: Sequence[Source],
        extractive: Writer,
        budgets: Budgets,
        cloud: CloudSettings,
        unpriced: Sequence[str] = (),
    ) -> None:
        self.budgets = budgets
        self._ollama = ollama
        self._sources = tuple(sources)
        self._extractive = extractive
        self._cloud = cloud
        self._prices = Prices(cloud)
        self._unpriced = tuple(unpriced)
        self._measured: dict[str, float] = {}  # model -> tokens it counted per token that we estimated

    @property
    def name(self) -> str:
        """Who would answer a private question now."""
        for source in self._sources:
            model = source.model_for("generation") if source.local else None
            if model is not None and source.pool.holds(model):
                return model
        return self._extractive.name

    def status(self) -> ModelStatus:
        return self._ollama.status()

    async def look(self) -> ModelStatus:
        return await self._ollama.look()

    @property
    def clouds(self) -> list[str]:
        """What could answer beyond this machine, if question and documents may leave: "model at provider"."""
        asked = [(source, source.model_for("generation")) for source in self._sources if not source.local]
        ready = ((source, model) for source, model in asked if model and (not source.paid or model in self._prices))
        return [f"{model} at {source.name}" for source, model in ready] if self._cloud.allowed else []

    @property
    def missing_prices(self) -> str:
        """Which cloud models are not asked because nobody has said what they cost, and the setting; mostly empty."""
        if not (self._cloud.allowed and self._unpriced):
            return ""
        return f"No price for {', '.join(self._unpriced)}: not asked. {price_advice(self._unpriced)}"

    async def budget_warnings(self, user: str) -> list[str]:
        """Budgets that are nearly or wholly spent, where any can be."""
        costs = any(source.paid for source in self._sources) or self.budgets.bounds(EMBEDDER)
        return await self.budgets.warnings(user) if self._cloud.allowed and costs else []

    def window(self, role: ModelRole = "generation") -> int:
        """Tokens, by our careful estimate, that fit the model which would be asked first."""
        for source in self._sources:
            model = source.model_for(role)
            if model is not None and source.pool.holds(model):
                return int(source.window(model) / max(1.0, self._measured.get(model, 1.0)))
        return self._ollama.settings.num_ctx

    async def write(self, request: WriteRequest) -> AsyncGenerator[Piece]:
        """Never raises for a model's sake: another one answers before the first piece; after it, it ends with a note.

        Raises PromptCut: what was written then answers another question than the one that was put.
        """
        settings = self._ollama.settings
        await self._ollama.look(unless_younger_than=settings.probe_interval)
        request = replace(request, deadline=min(request.deadline, time.monotonic() + settings.timeout))
        failures: list[str] = []
        for source, model, seen in self._askable(request):
            before = len(failures)
            async with aclosing(self._tried(source, model, seen, failures)) as pieces:
                async for piece in pieces:
                    yield piece
            if len(failures) == before:
                return
        async with aclosing(self._extractive.write(request)) as pieces:
            async for piece in pieces:
                yield piece
        yield Piece("", self._extractive.name, note=self._why(request, failures), offer=self._offer(request, failures))

    async def ask(self, request: WriteRequest) -> Piece:
        """The whole answer of a language model, for our own code: nothing is shown before it is complete.

        Raises ModelUnavailable where no model that may be asked answers to the end; BudgetExhausted where it would have
        taken money that is not there.
        """
        await self._ollama.look(unless_younger_than=self._ollama.settings.probe_interval)
        failures: list[ModelUnavailable | ModelFailed] = []
        for source, model, seen in self._askable(request):
            try:
                async with aclosing(self._written(source, model, seen)) as pieces:
                    return _whole([piece async for piece in pieces])
            except (ModelUnavailable, ModelFailed) as error:
                failures.append(error)
        kind = BudgetExhausted if any(isinstance(each, BudgetExhausted) for each in failures) else ModelUnavailable
        raise kind(" ".join(each.message for each in failures) or self._missing(), role=request.role)

    def choice(self, role: ModelRole, *, shareable: bool) -> Choice | None:
        """Which model would be asked first, as far as is known; None where none would be."""
        for source in self._sources:
            model = source.model_for(role)
            if model is None or not source.pool.holds(model):
                continue
            if source.local or (shareable and self._cloud.allowed and not source.paid):
                return Choice(source.name, model, None)
            if shareable and self._cloud.allowed and model in self._prices:
                return Choice(source.name, model, self._prices.of(model))
        return None

    def _written(self, source: Source, model: str, request: WriteRequest) -> AsyncGenerator[Piece]:
        return self._paid(source, model, request) if source.paid else source.pool.write(request, model)

    def _askable(self, request: WriteRequest) -> Iterator[tuple[Source, str, WriteRequest]]:
        """In order, what may see the request, has a model for it, and needs nobody's word first; and what it sees."""
        for source in self._sources:
            model = source.model_for(request.role)
            if model is not None and (source.local or self._may_leave(request)) and not self._asks(source, request):
                yield source, model, request if source.local else request.for_elsewhere()

    async def _tried(
        self, source: Source, model: str, request: WriteRequest, failures: list[str]
    ) -> AsyncGenerator[Piece]:
        """Pieces; or, where it failed before the first one, none and one more of `failures`. Raises PromptCut."""
        shown, earlier = False, "" if source.local else " ".join(failures)
        try:
            async with aclosing(self._written(source, model, request)) as pieces:
                async for piece in pieces:
                    shown = True
                    if piece.tokens_in:
                        self._measure(model, request.messages, piece.tokens_in)
                    yield piece
            if earlier:
                yield Piece("", model, note=f"{earlier} {model} at {source.name} answered instead.")
        except PromptCut:
            raise
        except (ModelUnavailable, ModelFailed) as error:
            logger.warning("%s", error.message)
            self._ollama.look_soon()
            if shown:
                yield Piece("", model, note=f"The answer may be incomplete. {error.message}")
            else:
                failures.append(error.message)

    async def _paid(self, source: Source, model: str, request: WriteRequest) -> AsyncGenerator[Piece]:
        """Reserved at the most it can cost, settled at what it did; in full where nobody knows."""
        price = self._prices.of(model)
        most = price.nano(tokens.most(request.messages), source.max_tokens)
        call = paid(self.budgets, source.name, request.user, model, price, most=most, seconds=source.timeout)
        async with call as bill:
            try:
                async with aclosing(source.pool.write(request, model)) as pieces:
                    async for piece in pieces:
                        if piece.tokens_in or piece.tokens_out:
                            bill.counted(piece.tokens_in, piece.tokens_out)
                            yield replace(piece, cost=bill.dollars, note=" ".join(bill.warnings))
                        else:
                            yield piece
                if not bill.tokens_in:  # a server that does not count: the most it can have cost
                    yield Piece("", model, cost=bill.dollars)
            except ModelUnavailable as error:
                if not error.details.get("sent"):
                    bill.refused()
                raise

    def _may_leave(self, request: WriteRequest) -> bool:
        return self._cloud.allowed and request.shareable

    def _asks(self, source: Source, request: WriteRequest) -> bool:
        return not source.local and self._cloud.ask and not request.agreed

    def _offer(self, request: WriteRequest, failures: Sequence[str]) -> Offer | None:
        """The first paid model that only waits for the reader's word."""
        if not self._may_leave(request):
            return None
        for source in self._sources:
            model = source.model_for(request.role)
            if model is not None and source.paid and model in self._prices and self._asks(source, request):
                most = self._prices.of(model).nano(tokens.most(request.for_elsewhere().messages), source.max_tokens)
                return Offer(source.name, model, most / NANO, " ".join(failures) or self._missing())
        return None

    def _missing(self) -> str:
        status = self._ollama.status()
        return status.advice or "No model on this machine answers."

    def _why(self, request: WriteRequest, failures: Sequence[str]) -> str:
        """What the reader of an extractive answer should know."""
        private = f" {PRIVATE}" if self._cloud.allowed and not request.shareable and self._has_cloud() else ""
        if failures:
            return f"{' '.join(failures)}{private} {EXTRACTS}"
        status = self._ollama.status()
        return (NO_MODEL if status.used is None and not status.reachable else status.advice) + private

    def _has_cloud(self) -> bool:
        return any(not source.local for source in self._sources)

    def _measure(self, model: str, messages: Sequence[ChatMessage], counted: int) -> None:
        """Keep the highest ratio of the model's own count to our estimate; a wrong one fades."""
        ratio = counted / max(1, sum(tokens.careful(message.text) for message in messages))
        self._measured[model] = max(ratio, 0.9 * self._measured.get(model, 0.0))


def _whole(pieces: Sequence[Piece]) -> Piece:
    return Piece(
        "".join(piece.text for piece in pieces),
        pieces[-1].model,
        max(piece.tokens_in for piece in pieces),
        max(piece.tokens_out for piece in pieces),
        cost=sum(piece.cost for piece in pieces),
        waited=pieces[0].waited,
    )


@asynccontextmanager
async def open_writer(
    settings: Settings, budgets: Budgets, embed: Embed, closer: Closer | None = None
) -> AsyncGenerator[RoutedWriter]:
    """Looks for servers in the background until closed. `embed` gives unit vectors, one row per text."""
    async with AsyncExitStack() as stack:
        ollama = await stack.enter_async_context(open_servers(settings.ollama))
        sources = [ollama_source(settings.ollama, ollama, local=True)]
        remote = [remote_source(settings, each, stack) for each in settings.providers]
        check_names(remote)
        sources += [source for source in remote if source.local]
        if ollama.elsewhere.members:
            sources.append(ollama_source(settings.ollama, ollama, local=False))
        sources += [source for source in remote if not source.local]
        if any(source.paid for source in sources) or budgets.bounds(EMBEDDER):
            await budgets.abandon()
        extractive = ExtractiveWriter(embed, closer)
        writer = RoutedWriter(ollama, sources, extractive, budgets, settings.cloud, unpriced(settings))
        if writer.missing_prices:
            logger.warning("%s", writer.missing_prices)
        yield writer


def budgets_of(settings: Settings, database: Database, clock: Callable[[], datetime]) -> Budgets:
    cloud = settings.cloud
    limits = {each.name: Limits(each.daily_budget, each.monthly_budget) for each in settings.providers}
    user = Limits(cloud.user_daily_budget, cloud.user_monthly_budget)
    return Budgets(database, clock, limits, user, cloud.warn_at)
