"""Part of the composition root: conversations with their tiers."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

from aegis.database import Database
from aegis.errors import AegisError
from aegis.services.clock import now
from aegis.settings import RedisSettings, Settings, SQLiteSettings

if TYPE_CHECKING:
    from memory.conversations.hot import HotTier
    from memory.conversations.tiers import TieredConversations
    from retrieval.blobs import Blobs
    from retrieval.embedding import Embedder
    from retrieval.interaction import Reranker
    from retrieval.keywords import KeywordEncoder


logger = logging.getLogger(__name__)


async def open_conversations(
    settings: Settings,
    database: Database,
    blobs: Blobs,
    embedder: Embedder,
    keywords: KeywordEncoder,
    closer: Reranker,
    stack: AsyncExitStack,
) -> TieredConversations:
    from memory.conversations.archive import STALE, Archive
    from memory.conversations.index import TurnIndex
    from memory.conversations.store import SqlConversations
    from memory.conversations.summaries import SqlSummaries
    from memory.conversations.tiers import TieredConversations

    shared = not isinstance(settings.database, SQLiteSettings)
    archive = Archive(database, blobs, now)
    store = SqlConversations(database, now, archive)
    # Other replicas may be working on the turns that are younger than any turn may become.
    lost = now() - timedelta(seconds=settings.chat.deadline) if shared else None
    await store.interrupt_running(begun_before=lost)
    try:
        await archive.sweep(STALE if shared else timedelta())
    except AegisError as error:
        logger.warning("Archives that nobody needs any more are removed later: %s", error)
    index = TurnIndex(database, store, embedder, keywords, now, closer)
    hot, summed = await _open_hot_tier(settings, stack), SqlSummaries(database, store)
    tiers = TieredConversations(store, hot, index, archive, summed)
    await stack.enter_async_context(tiers.running())
    return tiers


async def _open_hot_tier(settings: Settings, stack: AsyncExitStack) -> HotTier:
    from memory.conversations.hot import ProcessHot

    if not isinstance(settings.cache, RedisSettings):
        return ProcessHot()
    from memory.conversations.hot_redis import open_redis_hot

    return await stack.enter_async_context(open_redis_hot(settings.cache))
