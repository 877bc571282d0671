"""The graph database as a projection: compared with the tables, at start and after a failure, and filled anew."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from sqlalchemy import func, select

from aegis.database import Database
from aegis.database.leases import Leases
from aegis.database.outbox import Outbox, outbox
from aegis.errors import AegisError, Conflict
from memory.facts.rows import TOPIC
from memory.facts.store import project_again
from memory.facts.tables import entities, facts, merged
from retrieval.projection import LOOKS, PATIENCE, Projection, Target

CHECK_EVERY = 300.0  # seconds between comparisons while all goes well: a graph may come back empty

logger = logging.getLogger(__name__)


class GraphTarget(Target, Protocol):
    @property
    def failures(self) -> int:
        """How often the graph has not answered, whoever asked."""
        ...

    async def held(self) -> tuple[int, int]:
        """Entities and facts in the graph."""
        ...

    async def sweep(self) -> None:
        """Delete what the tables do not have."""
        ...


class GraphProjection(Projection):
    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        target: GraphTarget,
        leases: Leases | None,
        now: Callable[[], datetime],
    ) -> None:
        super().__init__(outbox, target, leases, now)
        self._database = database
        self._graph = target
        self.progress: tuple[int, int] | None = None  # (entities and facts sent, in all) while filling it anew

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._checks())
            tasks.create_task(super().run())

    async def verify(self) -> bool:
        """Whether the graph holds as many entities and facts as the tables."""
        for _ in range(LOOKS):
            async with self.turn:
                wanted, seq = await self._expected()
                moved = False
                while await self.advance(seq):
                    moved = True
                found = await self._graph.held()
            if found == wanted:
                return True
            if not moved:  # else a later change may have been seen too early: look again
                logger.warning("The graph holds %s entities and facts, the tables %s", found, wanted)
                return False
        return False

    async def rebuild(self, reason: str) -> None:
        """Tell the graph of every entity and fact anew; what it has meanwhile goes on to be asked.

        Raises Conflict while that is being done already, Unavailable.
        """
        if self.progress is not None:
            raise Conflict("The graph is being filled anew already.")
        (nodes, edges), _ = await self._expected()
        self.progress = (0, nodes + edges)
        logger.info("Filling the graph anew, %d entities and facts: %s", nodes + edges, reason)
        try:
            async with self.turn:
                await self._graph.sweep()
            async for done in project_again(self._database):
                self.progress = (done, max(done, nodes + edges))
                self._outbox.wake()
            await self.caught_up()
        finally:
            self.progress = None
        logger.info("The graph is filled")

    async def _checks(self) -> None:
        """At start, when this replica takes over, after a failure, and now and then."""
        seen, next_look, pause = (0, 0), 0.0, 0.25
        while True:
            state = (self.failures, self._graph.failures)
            due = state != seen or time.monotonic() > next_look
            if due and self.progress is None and self.failure is None and await self._led():
                if await self._checked():
                    seen, next_look, pause = state, time.monotonic() + CHECK_EVERY, 0.25
                else:
                    pause = min(PATIENCE, pause * 2)
            await asyncio.sleep(pause)

    async def _led(self) -> bool:
        try:
            return await self.leads()
        except AegisError:
            return False

    async def _checked(self) -> bool:
        """False when the graph or the tables could not be asked."""
        try:
            if not await self.verify():
                with contextlib.suppress(Conflict):
                    await self.rebuild("it does not hold what the tables hold")
        except AegisError as error:
            logger.info("The graph cannot be compared with the tables: %s", error)
            return False
        return True

    async def _expected(self) -> tuple[tuple[int, int], int]:
        """What the graph should hold, and the last outbox row that tells of it: both of one moment."""
        counts = [select(func.count()).select_from(table) for table in (entities, facts, merged)]
        last = select(func.coalesce(func.max(outbox.c.seq), 0)).where(outbox.c.topic == TOPIC)
        async with self._database.read() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ")
            seq = int((await connection.execute(last)).scalar_one())
            nodes, edges, others = [int((await connection.execute(count)).scalar_one()) for count in counts]
        return (nodes - others, edges), seq
