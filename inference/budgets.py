"""What cloud calls may cost and have cost: kept in the relational store, exact whoever calls at the same time.

A call is reserved at the most it can cost before it is made, and settled at what it did cost afterwards. One row per
call is the account; one counter per subject and period is its sum, changed in the same transaction, and a reservation
is a single conditional update of each: `held + amount <= limit`. So no number of callers, processes or crashes can take
more than there is. A reservation that nobody settles (its process was killed) counts in full for ever: the provider may
have done the work. Amounts are whole nano-dollars (10^-9 US dollars), since a token costs less than a micro-dollar.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Update, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database, Timestamp, metadata
from aegis.errors import BudgetExhausted
from aegis.scope import new_id
from aegis.telemetry import BUDGET_REFUSALS, BUDGET_WARNINGS, SPENT
from inference.prices import NANO

logger = logging.getLogger(__name__)

EMBEDDER = "embedder"  # stands for a provider where the embedder is at none of the chat providers
GRACE = 60.0  # seconds after a call's deadline until its reservation counts as abandoned

spendings = Table(
    "spendings",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("provider", String(40), nullable=False),
    Column("owner", String(120), nullable=False),
    Column("model", String(200), nullable=False),
    Column("state", String(12), nullable=False),
    Column("nano_dollars", BigInteger, nullable=False),
    Column("tokens_in", Integer, nullable=False),
    Column("tokens_out", Integer, nullable=False),
    Column("day", String(10), nullable=False),  # UTC, of the reservation
    Column("leased_until", Timestamp, nullable=False),
    Index("ix_spendings_state_leased", "state", "leased_until"),
)

budgets = Table(
    "budgets",
    metadata,
    Column("subject", String(140), primary_key=True),  # provider:NAME or user:NAME
    Column("period", String(10), primary_key=True),  # 2026-11 or 2026-11-25
    Column("held", BigInteger, nullable=False),
)

Kind = Literal["provider", "user"]
State = Literal["reserved", "settled", "abandoned"]


@dataclass(frozen=True, slots=True)
class Limits:
    """US dollars a day and a month (UTC)."""

    daily: float
    monthly: float


@dataclass(frozen=True, slots=True)
class Reservation:
    id: str
    provider: str
    user: str
    day: str
    nano: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Used:
    """What of one budget is spent or reserved, in US dollars."""

    kind: Kind
    name: str
    period: str
    spent: float
    limit: float

    @property
    def share(self) -> float:
        return self.spent / self.limit if self.limit else 1.0

    @property
    def span(self) -> str:
        return _span(self.period)


@dataclass(frozen=True, slots=True)
class _Line:
    """One budget that a call has to fit."""

    kind: Kind
    name: str
    period: str
    limit: int  # nano-dollars

    @property
    def subject(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def span(self) -> str:
        return _span(self.period)


class Budgets:
    """`providers` and `user`: what each provider, and every user over all providers, may cost."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        providers: Mapping[str, Limits],
        user: Limits,
        warn_at: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._providers = providers
        self._user = user
        self._warn_at = warn_at
        # The counters are one row each: more connections at a time would only wait in the store, and keep others out.
        self._turn = asyncio.Lock()

    def bound(self, provider: str, limits: Limits) -> None:
        """Hold one more provider to its limits."""
        self._providers = {**self._providers, provider: limits}

    def bounds(self, provider: str) -> bool:
        return provider in self._providers

    async def reserve(self, provider: str, user: str, model: str, nano: int, seconds: float) -> Reservation:
        """Set `nano` aside for one call that ends within `seconds`. Raises BudgetExhausted, naming the budget.

        Without a `user` it is the operator's own work, and only the provider's budgets bound it.
        """
        now = self._clock()
        day = now.strftime("%Y-%m-%d")
        reservation, warnings = Reservation(new_id(), provider, user, day, nano), list[str]()
        async with self._turn, self._database.write() as connection:
            for line in self._lines(provider, user, day):
                warnings += await self._hold(connection, line, nano)
            await connection.execute(
                spendings.insert().values(
                    id=reservation.id,
                    provider=provider,
                    owner=user,
                    model=model[:200],
                    state="reserved",
                    nano_dollars=nano,
                    tokens_in=0,
                    tokens_out=0,
                    day=day,
                    leased_until=now + timedelta(seconds=seconds + GRACE),
                )
            )
        return Reservation(reservation.id, provider, user, day, nano, tuple(warnings))

    async def settle(self, reservation: Reservation, nano: int, tokens_in: int = 0, tokens_out: int = 0) -> None:
        """Put what the call did cost in place of what was set aside; a second time changes nothing."""
        settled = (
            update(spendings)
            .where(spendings.c.id == reservation.id, spendings.c.state != "settled")
            .values(state="settled", nano_dollars=nano, tokens_in=tokens_in, tokens_out=tokens_out)
        )
        async with self._turn, self._database.write() as connection:
            if not (await connection.execute(settled)).rowcount:
                return
            for line in self._lines(reservation.provider, reservation.user, reservation.day):
                changed = _changed(line, nano - reservation.nano).returning(budgets.c.held)
                self._show(line, (await connection.execute(changed)).scalar_one())
        if nano > reservation.nano:
            logger.warning(
                "A call to %s cost more than it could: %d of %d nano-dollars",
                reservation.provider,
                nano,
                reservation.nano,
            )

    async def abandon(self) -> int:
        """Mark reservations that nobody will settle any more; returns how many. They count in full."""
        left = update(spendings).where(spendings.c.state == "reserved", spendings.c.leased_until < self._clock())
        async with self._database.write() as connection:
            marked = (await connection.execute(left.values(state="abandoned"))).rowcount
        if marked:
            logger.warning("%d cloud calls were cut off by the end of a process; they count in full", marked)
        return marked

    async def used(self, user: str) -> list[Used]:
        """Every provider's budgets, then this user's."""
        day = self._clock().strftime("%Y-%m-%d")
        lines = [line for name in self._providers for line in self._of("provider", name, self._providers[name], day)]
        lines += self._of("user", user, self._user, day)
        async with self._database.read() as connection:
            held = [await _held(connection, line) for line in lines]
        return [_used(line, nano) for line, nano in zip(lines, held, strict=True)]

    async def warnings(self, user: str) -> list[str]:
        """A sentence for each budget that is nearly or wholly spent."""
        used = await self.used(user)
        return [_nearly_spent(each) for each in used if each.limit and each.share >= self._warn_at]

    async def spent(self, provider: str, period: str) -> float:
        """US dollars by the account itself, reservations in full; `period` is a day or a month."""
        total = select(func.coalesce(func.sum(spendings.c.nano_dollars), 0)).where(
            spendings.c.provider == provider, spendings.c.day.startswith(period)
        )
        async with self._database.read() as connection:
            return int((await connection.execute(total)).scalar_one()) / NANO

    async def _hold(self, connection: AsyncConnection, line: _Line, nano: int) -> list[str]:
        """Add to the counter where it fits. Raises BudgetExhausted; returns a warning where one is due."""
        insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(budgets)
        await connection.execute(
            insert.values(subject=line.subject, period=line.period, held=0).on_conflict_do_nothing()
        )
        fits = _changed(line, nano).where(budgets.c.held + nano <= line.limit).returning(budgets.c.held)
        held = (await connection.execute(fits)).scalar_one_or_none()
        if held is None:
            BUDGET_REFUSALS.labels(line.kind, line.span).inc()
            raise BudgetExhausted(_exhausted(line), budget=line.subject, period=line.period)
        return self._watch(line, held - nano, held)

    def _watch(self, line: _Line, before: int, held: int) -> list[str]:
        self._show(line, held)
        threshold = self._warn_at * line.limit
        if held < threshold:
            return []
        said = _nearly_spent(_used(line, held))
        if before < threshold:
            BUDGET_WARNINGS.labels(line.kind, line.span).inc()
            logger.warning("%s", said)
        return [said]

    def _show(self, line: _Line, held: int) -> None:
        if line.kind == "provider":
            SPENT.labels(line.name, line.span).set(held / line.limit if line.limit else 1.0)

    def _lines(self, provider: str, user: str, day: str) -> Sequence[_Line]:
        """In one order for everybody, so that two transactions never wait for each other."""
        limits = self._providers.get(provider, Limits(0, 0))
        mine = self._of("user", user, self._user, day) if user else ()
        return (*self._of("provider", provider, limits, day), *mine)

    def _of(self, kind: Kind, name: str, limits: Limits, day: str) -> tuple[_Line, _Line]:
        return (
            _Line(kind, name, day, round(limits.daily * NANO)),
            _Line(kind, name, day[:7], round(limits.monthly * NANO)),
        )


def _changed(line: _Line, nano: int) -> Update:
    where = (budgets.c.subject == line.subject) & (budgets.c.period == line.period)
    return update(budgets).where(where).values(held=budgets.c.held + nano)


async def _held(connection: AsyncConnection, line: _Line) -> int:
    where = (budgets.c.subject == line.subject) & (budgets.c.period == line.period)
    return (await connection.execute(select(budgets.c.held).where(where))).scalar_one_or_none() or 0


def _span(period: str) -> str:
    return "day" if len(period) == 10 else "month"


def _used(line: _Line, nano: int) -> Used:
    return Used(line.kind, line.name, line.period, nano / NANO, line.limit / NANO)


def _nearly_spent(used: Used) -> str:
    how = "spent" if used.share >= 1 else "nearly spent"
    return f"{_whose(used)} of this {used.span} is {how}: {used.spent:.4g} of {used.limit:.4g} US dollars."


def _whose(budget: Used | _Line) -> str:
    return f"The budget for {budget.name}" if budget.kind == "provider" else "Your budget for cloud models"


def _exhausted(line: _Line) -> str:
    setting = "daily" if line.span == "day" else "monthly"
    where = f"`{setting}_budget` of {line.name} in AEGIS_PROVIDERS"
    if line.kind == "user":
        where = f"AEGIS_CLOUD__USER_{setting.upper()}_BUDGET"
    elif line.name == EMBEDDER:
        where = f"AEGIS_EMBEDDER__{setting.upper()}_BUDGET"
    left = "tomorrow" if line.span == "day" else "next month"
    return (
        f"{_whose(line)} of this {line.span} ({line.limit / NANO:.4g} US dollars) has no room for this call. "
        f"There is new money {left} (UTC); an operator can raise {where}."
    )
