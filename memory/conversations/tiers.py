"""All tiers as one: what the services hand out as the conversations port.

Turns are committed to the relational store first. What follows from that - the hot tier, the search index, the
archive, the summary - is brought up to date in the background, and made good at the next start if it was not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

from aegis.errors import AegisError
from aegis.scope import Scope
from memory.conversations import RECENT, SAID, Conversation, Found, Receipt, Turn
from memory.conversations.archive import Archive
from memory.conversations.hot import Block, HotTier
from memory.conversations.index import TurnIndex
from memory.conversations.store import SqlConversations
from memory.conversations.summaries import SqlSummaries

GATHER = 0.5  # seconds after a turn until what follows is done, for all turns since at once
LOOK = 60.0  # seconds between looks for what nobody told of
MOST_FOUND = 200  # turns of one search
HELD = 500  # turns with a word that is looked for, when conversations are listed

logger = logging.getLogger(__name__)


class Summaries(Protocol):
    async def renew(self, scope: Scope, conversation_id: str) -> None:
        """Bring the running summary up to date, where a model can write one."""
        ...


class Evicting(Protocol):
    """Answers that are kept to be given again: `memory.cache.answer_cache`."""

    async def evict(self, sources: Collection[str]) -> int:
        """Forget what rests on any of these; how many answers went."""
        ...


class TieredConversations:
    """`keep` is the background work; whoever opens this runs it."""

    def __init__(
        self, store: SqlConversations, hot: HotTier, index: TurnIndex, archive: Archive, summed: SqlSummaries
    ) -> None:
        self.store = store
        self.summed = summed
        self._hot = hot
        self._index = index
        self._archive = archive
        self.summaries: Summaries | None = None
        self.answers: Evicting | None = None
        self.learned: Callable[[], Awaitable[None]] | None = None  # waits until facts were drawn from all turns
        self._long: dict[str, Scope] = {}  # conversations with turns that nobody has moved or summed yet
        self._summing: dict[str, Scope] = {}  # conversations whose summary may be short of turns
        self._due = asyncio.Event()
        self._to_sum = asyncio.Event()
        self._warming: set[asyncio.Task[None]] = set()

    # Writing

    async def begin(self, scope: Scope, turn: Turn) -> None:
        await self.store.begin(scope, turn)

    async def finish(self, scope: Scope, turn: Turn) -> None:
        version, saved = await self.store.save(scope, turn)
        self._in_background(self._warm(saved, version))
        if version > RECENT:  # it grows with each finished turn: a shorter conversation has none beyond the last
            self._long[turn.conversation_id] = scope
        self._due.set()

    async def feedback(self, scope: Scope, turn_id: str, feedback: Mapping[str, Any] | None) -> None:
        await self.store.feedback(scope, turn_id, feedback)

    async def rename(self, scope: Scope, conversation_id: str, title: str) -> Conversation:
        return await self.store.rename(scope, conversation_id, title)

    async def delete(self, scope: Scope, conversation_id: str) -> Receipt:
        receipt = await self.store.delete(scope, conversation_id)
        self._long.pop(conversation_id, None)
        self._index.forget(scope.user)
        await self._hot.drop([conversation_id])
        if receipt.archives:
            self._due.set()
            with _told("Archived turns of an erased conversation are removed later"):
                await self._archive.sweep()
        if self.answers is None:
            return receipt
        evicted = await self.answers.evict([conversation_id])
        return replace(receipt, further={**receipt.further, "cached answers": evicted})

    async def take_in(self, scope: Scope, conversation: Conversation, told: Sequence[Turn]) -> int:
        added = await self.store.take_in(scope, conversation, told)
        self._long[conversation.id] = scope
        self._due.set()
        return added

    # Reading

    async def history(self, scope: Scope, conversation_id: str, *, last: int | None = None) -> list[Turn]:
        return await self.store.history(scope, conversation_id, last=last)

    async def page(self, scope: Scope, conversation_id: str, *, after: int, limit: int) -> list[Turn]:
        return await self.store.page(scope, conversation_id, after=after, limit=limit)

    async def recent(self, scope: Scope, conversation_id: str) -> Sequence[Turn]:
        version = await self.store.version(scope, conversation_id)
        if not version:  # unknown, or nothing was said in it yet
            return []
        block = await self._hot.get(conversation_id)
        if block is not None and block.version == version:
            return block.turns
        turns = tuple(await self.store.recent(scope, conversation_id))
        await self._hot.put(conversation_id, Block(version, turns))
        return turns

    async def get(self, scope: Scope, conversation_id: str) -> Conversation:
        return await self.store.get(scope, conversation_id)

    async def list(
        self, scope: Scope, *, before: str = "", limit: int = 50, holding: str = ""
    ) -> Sequence[Conversation]:
        also: Sequence[str] = ()
        if holding:
            found = await self._index.search(scope, holding, limit=HELD, words_only=True)
            also = await self.store.places(scope, [one.id for one in found])
        return await self.store.list(scope, before=before, limit=limit, holding=holding, also=also)

    async def turn(self, scope: Scope, turn_id: str) -> Turn:
        return await self.store.turn(scope, turn_id)

    async def summary(self, scope: Scope, conversation_id: str) -> str:
        return await self.store.summary(scope, conversation_id)

    async def holds(self, scope: Scope, turn_id: str) -> bool:
        return await self.store.holds(scope, turn_id)

    async def mentioning(self, scope: Scope, words: Sequence[str], *, limit: int = 50) -> Sequence[Turn]:
        """By the words as they stand, and by their stems."""
        if not words:
            return []
        by_stem = await self._index.search(scope, " ".join(words), limit=limit, words_only=True)
        here = {turn.id: turn for turn in await self.store.mentioning(scope, words, limit=limit)}
        there = await self.store.turns(scope, [one.id for one in by_stem if one.id not in here])
        every = [*here.values(), *(turn for turn in there.values() if turn.state == "done" and _holds(turn, words))]
        return sorted(every, key=lambda turn: (turn.created_at, turn.id), reverse=True)[:limit]

    async def search(
        self, scope: Scope, text: str, *, limit: int = 20, conversation_id: str | None = None
    ) -> Sequence[Found]:
        """The user's turns by what they say, best first, from every tier."""
        scored = await self._index.search(scope, text, limit=min(limit, MOST_FOUND), conversation_id=conversation_id)
        turns = await self.store.turns(scope, [one.id for one in scored])
        return [Found(turns[one.id], one.score) for one in scored if one.id in turns]

    async def indexing(self) -> tuple[int, int] | None:
        """(indexed, all) turns while many are still to be indexed and are not found; None otherwise."""
        return await self._index.progress()

    # In the background

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        tasks = [
            asyncio.create_task(self._keep(), name="conversations"),
            asyncio.create_task(self._summarise(), name="summaries"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, *self._warming, return_exceptions=True)

    async def settle(self) -> None:
        """Do now what is done in the background. Raises StoreUnavailable."""
        await self._index.catch_up()
        long, self._long = self._long, {}
        if long:
            self._summing |= long
            self._to_sum.set()
            await self._move(long)
        await self._archive.sweep()

    async def summarise(self) -> None:
        """Bring the summaries of conversations that went on up to date. Raises StoreUnavailable."""
        while self._summing:
            conversation_id, scope = self._summing.popitem()
            if self.summaries is not None:
                await self.summaries.renew(scope, conversation_id)

    async def _summarise(self) -> None:
        """Apart from `_keep`: a model takes its time."""
        while True:
            await self._to_sum.wait()
            self._to_sum.clear()
            with _told("The running summary of a conversation is written after a later turn"):
                await self.summarise()

    async def _keep(self) -> None:
        with _told("Turns that another encoder has indexed are indexed anew later"):
            await self._index.renew()
        looked = float("-inf")
        while True:
            if time.monotonic() - looked >= LOOK:
                looked = time.monotonic()
                with _told("Older turns are moved to the archive later"):
                    await self._look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), LOOK)
                await asyncio.sleep(GATHER)
            self._due.clear()
            with _told("Turns are indexed and archived later"):
                await self.settle()

    async def _look(self) -> None:
        """For what a process that ended has left, and other replicas."""
        await self._move(await self._archive.due())

    async def _move(self, conversation_ids: Iterable[str]) -> None:
        """Facts are drawn from rows; who is slow at that is waited for, and tried again with the next look."""
        try:
            async with asyncio.timeout(LOOK):
                if self.learned is not None:
                    await self.learned()
        except TimeoutError:
            return
        for conversation_id in conversation_ids:
            await self._archive.move(conversation_id)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """So that no answer waits for the hot tier."""
        task = asyncio.create_task(work)
        self._warming.add(task)
        task.add_done_callback(self._warming.discard)

    async def _warm(self, turn: Turn, version: int) -> None:
        """Add the turn to its block, if that lacks nothing else; otherwise the next question fills it."""
        block = await self._hot.get(turn.conversation_id)
        if turn.state not in SAID:
            return
        if block is None and version == 1:
            block = Block(0, ())
        if block is None or block.version != version - 1:
            return
        turns = [one for one in block.turns if one.id != turn.id]
        await self._hot.put(turn.conversation_id, Block(version, (*turns, turn)[-RECENT:]))


def _holds(turn: Turn, words: Sequence[str]) -> bool:
    text = f"{turn.question} {turn.answer}".casefold()
    return any(word.casefold() in text for word in words)


@contextlib.contextmanager
def _told(consequence: str) -> Generator[None]:
    try:
        yield
    except AegisError as error:
        logger.warning("%s: %s", consequence, error)
    except Exception:
        logger.exception("%s", consequence)
