"""Publishing: versions become visible, and those they replace invisible, in one step for every reader.

The catalogue's epoch is what readers see by. A publication writes its row, gives its versions `visible_from` and the
replaced ones `visible_until` of the epoch to come, tells the projections, waits until each that must has confirmed,
and only then raises the epoch. One publication at a time, by a lease; one cut off is finished by the next publisher.

Erasing old versions for good is `Versions.discard` after their last epoch has been given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sqlalchemy import ColumnElement, insert, select, update

from aegis.database import Database
from aegis.database.leases import Leases
from aegis.database.outbox import Outbox, append
from aegis.database.schema import insert_missing
from aegis.errors import StoreUnavailable
from retrieval.catalogue import Catalogue
from retrieval.ingestion.versions import VISIBILITY_TOPIC
from retrieval.tables import NEVER, epochs, publications, versions

LEASE = "publishing"
LEASE_SECONDS = 30.0
SLICE = 8  # versions of one transaction: their rows may be long
LIMIT = 200  # versions of one publication
GRACE = 2.0  # seconds that a publication waits for projections it does not depend on
_EPOCH_ROW = 1

logger = logging.getLogger(__name__)


class Confirms(Protocol):
    async def caught_up(self) -> None:
        """Returns once everything committed to the outbox before this call has been applied."""
        ...


class Follows(Confirms, Protocol):
    @property
    def failure(self) -> str | None:
        """Why it is behind, None while all goes well."""
        ...


@dataclass(frozen=True, slots=True)
class Publication:
    epoch: int
    shown: Sequence[str]
    hidden: Sequence[str]


@dataclass(frozen=True, slots=True)
class Publisher:
    """`projections` must confirm: what they show is what an epoch says. `followers` may be behind: what they answer is
    checked against the relational store, so one that is away delays nobody and catches up when it is back."""

    database: Database
    catalogue: Catalogue
    outbox: Outbox
    leases: Leases | None  # None where the data folder has one owner anyway
    projections: Sequence[Confirms]
    now: Callable[[], datetime]
    followers: Sequence[Follows] = ()
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def publish(self, shown: Sequence[str] = (), hidden: Sequence[str] = ()) -> int:
        """Show these versions and hide these documents; the epoch from which it is so.

        At most one version of a document at a time, and at most LIMIT in all. Safe to repeat: a version that has
        been published already is passed over. Waits as long as a projection that must confirm cannot be reached.
        """
        async with self._alone():
            await self.finish()
            shown = await self._unpublished(shown)
            if not shown and not hidden:
                return await self.catalogue.epoch()
            publication = await self._open(shown, hidden)
            await self._carry_out(publication)
            return publication.epoch

    @asynccontextmanager
    async def paused(self) -> AsyncGenerator[None]:
        """No publication is under way until the end."""
        async with self._alone():
            await self.finish()
            yield

    async def recover(self) -> None:
        """Finish a publication that was cut off. Called at start."""
        async with self._alone():
            await self.finish()

    async def finish(self) -> None:
        query = select(publications).where(publications.c.closed_at.is_(None)).order_by(publications.c.epoch)
        async with self.database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        for row in rows:
            logger.info("Finishing the publication of epoch %d", row["epoch"])
            await self._carry_out(Publication(row["epoch"], row["shown"], row["hidden"]))

    async def _unpublished(self, shown: Sequence[str]) -> list[str]:
        query = select(versions.c.id).where(versions.c.id.in_(list(shown)), versions.c.visible_from == NEVER)
        async with self.database.read() as connection:
            return sorted(row[0] for row in await connection.execute(query))

    async def _open(self, shown: Sequence[str], hidden: Sequence[str]) -> Publication:
        async with self.database.write() as connection:
            await connection.execute(insert_missing(epochs, connection.dialect.name).values(id=_EPOCH_ROW, value=0))
            epoch = int((await connection.execute(select(epochs.c.value))).scalar_one()) + 1
            await connection.execute(
                insert(publications).values(
                    epoch=epoch, shown=list(shown), hidden=list(hidden), opened_at=self.now(), closed_at=None
                )
            )
        return Publication(epoch, shown, hidden)

    async def _carry_out(self, publication: Publication) -> None:
        for start in range(0, len(publication.shown), SLICE):
            await self._show(publication.epoch, publication.shown[start : start + SLICE])
        for start in range(0, len(publication.hidden), SLICE):
            await self._hide(publication.epoch, publication.hidden[start : start + SLICE])
        self.outbox.wake()
        await asyncio.gather(*(projection.caught_up() for projection in self.projections))
        await asyncio.gather(*(self._followed(follower) for follower in self.followers))
        await self._close(publication.epoch)

    async def _followed(self, follower: Follows) -> None:
        if follower.failure is not None:  # that it is behind is said by the projection itself, and by /health/ready
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(follower.caught_up(), GRACE)

    async def _show(self, epoch: int, shown: Sequence[str]) -> None:
        fresh = versions.c.id.in_(list(shown))
        siblings = select(versions.c.document_id).where(fresh)
        replaced = versions.c.document_id.in_(siblings) & ~fresh
        async with self.database.write() as connection:
            old = select(versions.c.id).where(replaced, _seen_until(epoch))
            changed = [*(row[0] for row in await connection.execute(old)), *shown]
            hidden = versions.c.visible_from == NEVER
            await connection.execute(update(versions).where(fresh, hidden).values(visible_from=epoch))
            await connection.execute(update(versions).where(replaced, _seen_until(epoch)).values(visible_until=epoch))
            await append(connection, VISIBILITY_TOPIC, [{"version": version} for version in changed])

    async def _hide(self, epoch: int, hidden: Sequence[str]) -> None:
        gone = versions.c.document_id.in_(list(hidden)) & _seen_until(epoch)
        async with self.database.write() as connection:
            changed = [row[0] for row in await connection.execute(select(versions.c.id).where(gone))]
            await connection.execute(update(versions).where(gone).values(visible_until=epoch))
            await append(connection, VISIBILITY_TOPIC, [{"version": version} for version in changed])

    async def _close(self, epoch: int) -> None:
        async with self.database.write() as connection:
            # Another publisher may have finished this one already: the epoch never falls.
            await connection.execute(update(epochs).where(epochs.c.value < epoch).values(value=epoch))
            mine = publications.c.epoch == epoch
            await connection.execute(update(publications).where(mine).values(closed_at=self.now()))
        self.catalogue.epoch_raised(epoch)

    @asynccontextmanager
    async def _alone(self) -> AsyncGenerator[None]:
        async with self._turn:
            if self.leases is None:
                yield
                return
            while not await self.leases.take(LEASE, self.now(), LEASE_SECONDS):  # noqa: ASYNC110 - held elsewhere
                await asyncio.sleep(0.2)
            holding = asyncio.create_task(self._hold(self.leases))
            try:
                yield
            finally:
                holding.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await holding
                await self.leases.release(LEASE)

    async def _hold(self, leases: Leases) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            with contextlib.suppress(StoreUnavailable):  # then the lease runs out, which does no harm
                await leases.take(LEASE, self.now(), LEASE_SECONDS)


def _seen_until(epoch: int) -> ColumnElement[bool]:
    """Published before this epoch, and not replaced before it (or by it, when a publication is done again)."""
    return (versions.c.visible_from < epoch) & (versions.c.visible_until >= epoch)
