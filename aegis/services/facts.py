"""Part of the composition root: the index of facts and entities, and what keeps it up to date."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from aegis.database import Database
from aegis.database.leases import Leases
from aegis.database.outbox import Outbox
from aegis.services.index import remove_others
from aegis.settings import EdgeSettings, Settings

if TYPE_CHECKING:
    from memory.facts.index import FactIndex
    from retrieval.embedding import Embedder
    from retrieval.keywords import KeywordEncoder
    from retrieval.projection import Resettable, VectorProjection

FOLDER = "facts"  # in the data folder
PATIENCE = 2.0  # seconds that a change waits until it can be found


@dataclass(frozen=True, slots=True)
class FactPlace:
    index: FactIndex
    filling: VectorProjection

    async def settled(self) -> None:
        """What was changed before this call can be found, unless the index is away; then it follows later."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self.filling.caught_up()


@asynccontextmanager
async def open_facts(
    settings: Settings,
    database: Database,
    outbox: Outbox,
    embedder: Embedder,
    keywords: KeywordEncoder,
    leases: Leases | None,
    now: Callable[[], datetime],
    builds: asyncio.Lock,
) -> AsyncGenerator[FactPlace]:
    """Always by the embedder given here, whatever fills the index of documents. Raises IndexUnavailable."""
    from memory.facts.index import FactIndex
    from memory.facts.points import FactPoints
    from retrieval.projection import VectorProjection

    async with AsyncExitStack() as stack:
        store = await _store(settings, embedder, keywords, builds, stack)
        filling = VectorProjection(outbox, FactPoints(database, store, embedder, keywords), leases, now)
        yield FactPlace(FactIndex(store, embedder, keywords, lambda: filling.complete), filling)


async def _store(
    settings: Settings, embedder: Embedder, keywords: KeywordEncoder, builds: asyncio.Lock, stack: AsyncExitStack
) -> Resettable:
    from memory.facts.points import FIELDS, fact_settings

    made_by = f"{embedder.name}+{keywords.name}"  # other vectors, other place
    if isinstance(settings.vectors, EdgeSettings):
        from retrieval.store.edge import open_edge

        given, folder = fact_settings(settings.vectors), settings.folder / FOLDER
        await asyncio.to_thread(remove_others, folder, {made_by})
        return await stack.enter_async_context(
            open_edge(given, folder / made_by, embedder.dimensions, fields=FIELDS, builds=builds)
        )
    from retrieval.store.server import open_qdrant

    return await stack.enter_async_context(
        open_qdrant(settings.vectors, embedder.dimensions, f"facts_{made_by.replace('+', '_')}", FIELDS)
    )
