"""Part of the composition root: the answer cache."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aegis.settings import QdrantSettings, RedisSettings, Settings

if TYPE_CHECKING:
    from memory.cache.answer_cache import AnswerCache


async def open_answers(settings: Settings, dimensions: int, stack: AsyncExitStack) -> AnswerCache:
    """Replicas that share a Redis share answers; if they share a Qdrant server, too, also what questions resemble."""
    from memory.cache.answer_cache import AnswerCache
    from memory.cache.process import ProcessAnswers
    from memory.cache.questions import ExactQuestions, StoredQuestions

    limit = settings.answer_cache.limit
    hot = ProcessAnswers(settings.answer_cache.hot)
    if not isinstance(settings.cache, RedisSettings):
        return AnswerCache(hot, ProcessAnswers(limit), ExactQuestions(limit))
    from aegis.database.redis import open_redis
    from memory.cache.redis import RedisAnswers

    client = await stack.enter_async_context(open_redis(settings.cache))
    answers = RedisAnswers(client, settings.cache.prefix, limit)
    if not isinstance(settings.vectors, QdrantSettings):
        return AnswerCache(hot, answers, ExactQuestions(limit))
    from retrieval.store.server import open_qdrant

    own = settings.vectors.model_copy(update={"prefix": f"{settings.vectors.prefix}_questions"})
    return AnswerCache(
        hot, answers, StoredQuestions(await stack.enter_async_context(open_qdrant(own, dimensions)), limit)
    )
