"""Upkeep of the graph memory, once a day: duplicates are merged, what belongs to nothing goes, entities are summarised.

In small transactions, each with how far it has come: killed anywhere, whoever takes the lease next goes on from there.
Nothing goes silently: merging and removing are changes with a reason, which can be undone (`memory.facts.history`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.database.leases import Leases
from aegis.database.outbox import Outbox
from aegis.errors import AegisError, Conflict
from aegis.scope import new_id
from memory.facts.duplicates import merge_duplicates
from memory.facts.history import BY_RULE, record, unpacked
from memory.facts.merging import forget
from memory.facts.rows import column, insert_new, tell_graph
from memory.facts.summaries import renew
from memory.facts.tables import aliases, consolidations, entities, facts, groups, mentions
from memory.facts.visibility import Epoch

Phase = Literal["merge", "prune", "summarise", "done"]
_NEXT: dict[str, Phase] = {"merge": "prune", "prune": "summarise", "summarise": "done"}
_COUNTED = {"merge": "merged", "prune": "pruned", "summarise": "summarised"}
PAGE = 200  # entities looked at in one transaction
REST = 4.0  # times as long as a step took is waited after it, when nobody waits for it
LOOK = 300.0  # seconds between looks whether it is time, and before the first one
LEASE, LEASE_SECONDS = "consolidation", 120.0
YOUNG = timedelta(hours=1)  # what is just being written may belong to nothing yet

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Run:
    """`summarised`: entities whose summary changed. `after`: the last group or entity of the phase that is done."""

    id: str
    started_at: datetime
    ended_at: datetime | None
    phase: Phase
    after: str
    merged: int
    pruned: int
    summarised: int


class Consolidation:
    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        epoch: Epoch,
        leases: Leases | None,
        now: Callable[[], datetime],
        hour: int | None = None,
    ) -> None:
        """`hour` (UTC) at which it is due each day; None: only by hand."""
        self._database = database
        self._outbox = outbox
        self._epoch = epoch
        self._leases = leases
        self._now = now
        self._hour = hour
        self._task: asyncio.Task[Run] | None = None

    async def run(self) -> None:
        """For ever: once a day, or as soon as a start finds that it was missed."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                if not self.running and await self.due():
                    await self.consolidate(rest=REST)
            except Conflict:
                continue  # another replica does it
            except AegisError as error:
                logger.warning("The memory is consolidated later: %s", error)

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def start(self) -> Run | None:
        """By hand: begin, if it does not run already; returns at once. Raises Conflict while another server does it."""
        if self.running:
            return await self.last()
        await self._lead()
        run = await self._begun()
        self._task = asyncio.create_task(self._go_on(run, 0.0), name="consolidation by hand")
        return run

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def due(self) -> bool:
        """Whether one was begun and not ended, or none was begun since the last time that it should have been."""
        if self._hour is None:
            return False
        last, now = await self.last(), self._now()
        slot = now.replace(hour=self._hour, minute=0, second=0, microsecond=0)
        slot -= timedelta(days=slot > now)
        return last is None or last.ended_at is None or last.started_at < slot

    async def last(self) -> Run | None:
        query = select(consolidations).order_by(consolidations.c.started_at.desc(), consolidations.c.id).limit(1)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else Run(**row)

    async def consolidate(self, *, rest: float = 0.0) -> Run:
        """From where the last one was left, or from the beginning, to the end. Raises Conflict, StoreUnavailable."""
        await self._lead()
        return await self._go_on(await self._begun(), rest)

    async def _go_on(self, run: Run, rest: float) -> Run:
        while run.phase != "done":
            await self._lead()
            began = time.monotonic()
            run = await self.step(run)
            await asyncio.sleep(rest * (time.monotonic() - began))
        if self._leases is not None:
            await self._leases.release(LEASE)
        logger.info("Consolidated: %d merged, %d pruned, %d summarised", run.merged, run.pruned, run.summarised)
        return run

    async def step(self, run: Run) -> Run:
        """One transaction further."""
        epoch = await self._epoch.epoch()
        async with self._database.write() as connection:
            count, after = await self._worked(connection, run, epoch)
            phase: Phase = run.phase if after is not None else _NEXT[run.phase]
            name = _COUNTED[run.phase]
            run = replace(run, phase=phase, after=after or "", **{name: getattr(run, name) + count})
            run = replace(run, ended_at=self._now() if phase == "done" else None)
            values = {key: getattr(run, key) for key in ("phase", "after", "ended_at", *_COUNTED.values())}
            await connection.execute(update(consolidations).where(consolidations.c.id == run.id).values(**values))
        self._outbox.wake()
        return run

    async def _worked(self, connection: AsyncConnection, run: Run, epoch: int) -> tuple[int, str | None]:
        """(how many were changed, where to go on from; None when the phase is over)."""
        if run.phase == "merge":
            query = select(groups.c.id).where(groups.c.id > run.after).order_by(groups.c.id).limit(1)
            found = await column(connection, query)
            return (await merge_duplicates(connection, found[0], self._now()), found[0]) if found else (0, None)
        query = select(entities.c.id).where(entities.c.id > run.after).order_by(entities.c.id).limit(PAGE)
        ids = await column(connection, query)
        if not ids:
            return 0, None
        if run.phase == "prune":
            return await prune(connection, ids, self._now()), ids[-1]
        return await renew(connection, ids, epoch, self._now()), ids[-1]

    async def _begun(self) -> Run:
        """The one that was left unfinished, or a new one."""
        last = await self.last()
        if last is not None and last.ended_at is None:
            return last
        run = Run(new_id(), self._now(), None, "merge", "", 0, 0, 0)
        row = {name: getattr(run, name) for name in Run.__slots__}
        async with self._database.write() as connection:
            await connection.execute(insert(consolidations), [row])
        return run

    async def _lead(self) -> None:
        if self._leases is not None and not await self._leases.take(LEASE, self._now(), LEASE_SECONDS):
            raise Conflict("Another server is consolidating the memory; ask again how far it is.")


async def prune(connection: AsyncConnection, ids: list[str], now: datetime) -> int:
    """Take those of these entities out that nothing mentions and no fact joins; each is a change that puts it back."""
    lonely = (
        ~exists(select(1).where(mentions.c.entity_id == entities.c.id)),
        ~exists(select(1).where(facts.c.source_id == entities.c.id)),
        ~exists(select(1).where(facts.c.target_id == entities.c.id)),
    )
    query = select(entities).where(entities.c.id.in_(ids), entities.c.created_at < now - YOUNG, *lonely)
    gone: list[Any] = list((await connection.execute(query)).mappings())
    for row in gone:
        others = await column(connection, select(aliases.c.key).where(aliases.c.entity_id == row["id"]))
        reason = f"Nothing mentions “{row['name']}”, and no fact is about it."
        before = {"entity": dict(row), "aliases": others}
        await record(connection, row["group_id"], row["id"], "pruned", reason=reason, by=BY_RULE, at=now, before=before)
    if gone:
        named = [row["id"] for row in gone]
        await connection.execute(delete(aliases).where(aliases.c.entity_id.in_(named)))
        await connection.execute(delete(entities).where(entities.c.id.in_(named)))
        await forget(connection, named)
        await tell_graph(connection, gone_entities=named)
    return len(gone)


async def put_back(connection: AsyncConnection, before: dict[str, Any]) -> None:
    """Undo `prune`."""
    row = unpacked(before)["entity"]
    common = {name: row[name] for name in ("group_id", "collection")}
    await insert_new(connection, entities, [row])
    others = [{**common, "entity_id": row["id"], "key": other} for other in before["aliases"]]
    await insert_new(connection, aliases, others)
    await tell_graph(connection, entities=[row["id"]])
