"""Part of the composition root: the daily consolidation of memory."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aegis.database import Database
from aegis.database.leases import Leases
from aegis.database.outbox import Outbox
from aegis.services.background import cancelled
from aegis.services.clock import now
from aegis.settings import Settings

if TYPE_CHECKING:
    from memory.facts.consolidation import Consolidation
    from retrieval.catalogue import Catalogue


async def open_consolidation(
    settings: Settings,
    database: Database,
    outbox: Outbox,
    catalogue: Catalogue,
    leases: Leases | None,
    stack: AsyncExitStack,
) -> Consolidation:
    from memory.facts.consolidation import Consolidation

    hour = settings.memory.consolidate_at if settings.memory.consolidate else None
    consolidation = Consolidation(database, outbox, catalogue, leases, now, hour)
    stack.push_async_callback(consolidation.aclose)
    stack.push_async_callback(cancelled, asyncio.create_task(consolidation.run(), name="consolidation"))
    return consolidation
