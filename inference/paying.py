"""A paid call: reserved in the budgets at the most it can cost, settled at what it did cost, however it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import urlsplit

from aegis.errors import AegisError, ConfigurationError, ModelUnavailable, StoreUnavailable
from aegis.settings import EmbedderSettings, OpenAIEmbedderSettings, Settings
from inference.budgets import EMBEDDER, Budgets, Limits, Reservation
from inference.premises import on_this_machine
from inference.prices import NANO, Price, Prices, price_advice

logger = logging.getLogger(__name__)

_payer: ContextVar[str] = ContextVar("payer", default="")


@dataclass(slots=True)
class Bill:
    """Of a call under way. Until somebody says what it did cost, it is the most that it can."""

    price: Price
    nano: int
    warnings: tuple[str, ...] = ()
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def dollars(self) -> float:
        return self.nano / NANO

    def counted(self, tokens_in: int, tokens_out: int = 0) -> None:
        """What the provider says it read and wrote."""
        self.tokens_in, self.tokens_out = tokens_in, tokens_out
        self.nano = self.price.nano(tokens_in, tokens_out)

    def refused(self) -> None:
        """Nothing was done, so nothing is paid."""
        self.nano = 0


@asynccontextmanager
async def paid(
    budgets: Budgets, provider: str, user: str, model: str, price: Price, *, most: int, seconds: float
) -> AsyncGenerator[Bill]:
    """`most` nano-dollars are set aside for a call that ends within `seconds`. Raises BudgetExhausted."""
    try:
        held = await budgets.reserve(provider, user, model, most, seconds)
    except StoreUnavailable as error:
        raise ModelUnavailable(f"{provider} is not asked, since its budget cannot be read.") from error
    bill = Bill(price, most, held.warnings)
    try:
        yield bill
    finally:
        await asyncio.shield(_settled(budgets, held, bill))


async def _settled(budgets: Budgets, held: Reservation, bill: Bill) -> None:
    try:
        await budgets.settle(held, bill.nano, bill.tokens_in, bill.tokens_out)
    except AegisError as error:  # what was set aside stays so, which is never too little
        logger.error("A call to %s could not be settled: %s", held.provider, error.message)


@contextmanager
def paid_by(user: str) -> Generator[None]:
    """Whose budget the embedding in this block is held against, beside the provider's. Nobody's: the operator's work,
    such as embedding everything anew, which the provider's budget alone bounds."""
    token = _payer.set(user)
    try:
        yield
    finally:
        _payer.reset(token)


@dataclass(frozen=True, slots=True)
class Meter:
    """Holds the calls of an embedder to the budgets that chats are held to."""

    budgets: Budgets
    provider: str
    model: str
    price: Price
    seconds: float  # that a call takes at most

    def call(self, tokens: int) -> AbstractAsyncContextManager[Bill]:
        """`tokens` is the most that it can be found to have read. Raises BudgetExhausted."""
        most = self.price.nano(tokens, 0)
        return paid(self.budgets, self.provider, _payer.get(), self.model, self.price, most=most, seconds=self.seconds)


def price_of(given: EmbedderSettings, settings: Settings) -> Price | None:
    """None where the embedder costs nothing. Raises ConfigurationError where nobody has said what it costs."""
    if not isinstance(given, OpenAIEmbedderSettings) or on_this_machine(given.url, settings.ollama.trusted_hosts):
        return None
    prices = Prices(settings.cloud)
    if given.model not in prices:
        raise ConfigurationError(
            f"There is no price for the embedder {given.model}, so it is not asked. {price_advice([given.model])} "
            "An embedder writes nothing: the second number is 0."
        )
    return prices.of(given.model)


def meter_of(given: EmbedderSettings, settings: Settings, budgets: Budgets) -> Meter | None:
    """As `price_of`.

    One at the address of a chat provider is paid from that provider's budget: it is one bill.
    """
    price = price_of(given, settings)
    if price is None or not isinstance(given, OpenAIEmbedderSettings):
        return None
    same = (each.name for each in settings.providers if _host(each.url) == _host(given.url))
    provider = next(same, EMBEDDER)
    if provider == EMBEDDER:
        budgets.bound(EMBEDDER, Limits(given.daily_budget, given.monthly_budget))
    return Meter(budgets, provider, given.model, price, given.timeout)


def _host(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port
