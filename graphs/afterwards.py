"""What follows when documents have changed, in the background: cached answers go, standing questions are looked at,
and saved answers that rested on what is gone are asked again.

Every process evicts from its own cache. Of replicas, one does the rest at a time; how far it is stands in the store, so
that a crash loses nothing. Asking again waits while people's questions run.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from aegis.database import Database
from aegis.database.leases import Leases
from aegis.database.outbox import Outbox
from aegis.errors import AegisError, NotFound
from aegis.scope import Scope, local_scope, new_id
from aegis.services import Services
from agents.cache import Again
from agents.evidence import gather
from agents.retrieve import Stays, may_be_seen
from agents.state import TOP_K, Context, State
from agents.summarise import Summarise
from graphs.answering import Answering
from graphs.wiring import graph_of, now, search_of, stays_of
from memory.cache.answer_cache import AnswerCache
from memory.conversations import Conversations, Turn
from memory.recalls import AnswerRecalls, Queued
from memory.standing import StandingQuestion, StandingQuestions
from retrieval.catalogue import Catalogue
from retrieval.tables import versions

LOOK = 0.25  # seconds between looks at the epoch
OFTEN = 5.0  # seconds between looks at what people save or ask to be told meanwhile
PAUSE = 1.0  # seconds between two saved answers that are asked again
BATCH = 20  # standing questions looked at in one go
LEASE, LEASE_SECONDS = "afterwards", 60.0
SHOWN = 3  # pieces of evidence
QUOTED = 300  # characters

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Afterwards:
    database: Database
    outbox: Outbox
    catalogue: Catalogue
    cache: AnswerCache
    conversations: Conversations
    standing: StandingQuestions
    recalls: AnswerRecalls
    again: Again
    graph: Any
    busy: Callable[[], bool]
    leases: Leases | None
    stays: Stays = may_be_seen

    async def follow(self) -> None:
        """For ever."""
        seen, looked = await self.catalogue.epoch(), -OFTEN
        while True:
            try:
                epoch = await self.catalogue.epoch()
                if epoch > seen:
                    await self.cache.evict(await self._gone(seen, epoch))
                    seen, looked = epoch, -OFTEN
                if time.monotonic() - looked >= OFTEN and await self._leads():
                    await self.catch_up(epoch)
                    if self.busy() or not await self.recall_one():
                        looked = time.monotonic()
                    else:
                        await asyncio.sleep(PAUSE)
            except AegisError as error:
                logger.warning("What follows from changed documents has to wait: %s", error)
                await asyncio.sleep(PAUSE)
            await asyncio.sleep(LOOK)

    async def _leads(self) -> bool:
        return self.leases is None or await self.leases.take(LEASE, now(), LEASE_SECONDS)

    async def catch_up(self, epoch: int) -> None:
        """Everything that the epochs up to this one mean for saved answers and standing questions."""
        done = await self.outbox.applied(LEASE)
        if epoch > done:
            await self.recalls.queue(await self._gone(done, epoch))
            await self.outbox.confirm(LEASE, epoch)
        while due := await self.standing.due(epoch, BATCH):
            for question in due:
                await self.standing.checked(question.id, epoch, await self._evidence(question, epoch))

    async def recall_one(self) -> bool:
        """Ask one saved answer again; whether there was one."""
        queued = await self.recalls.next()
        if queued is None:
            return False
        try:
            await self.recalls.settle(queued.turn_id, await self._difference(queued))
        except NotFound:
            await self.recalls.settle(queued.turn_id, {})
        return True

    async def _gone(self, after: int, until: int) -> list[str]:
        """Versions that were replaced or deleted in these epochs."""
        hidden = versions.c.visible_until
        query = select(versions.c.id).where(hidden > after, hidden <= until)
        async with self.database.read() as connection:
            return [row[0] for row in await connection.execute(query)]

    async def _evidence(self, question: StandingQuestion, epoch: int) -> list[dict[str, Any]]:
        """Passages that answer it, where one of them is new since it was looked at last; else nothing."""
        scope = await self._scope(question.owner)
        stays = await self.stays(scope, question.conversation_id)
        context = Context(question.owner, tuple(sorted(scope.collections)), mode=question.mode, stays=stays)
        found = await self.again(
            {"question": question.question, "standalone": question.question, "epoch": epoch}, context
        )
        if not found.get("enough"):
            return []
        evidence = await gather(self.catalogue, scope, found)
        new = [chunk for _, chunk in evidence if chunk.visible_from > question.checked]
        return [
            {"document_id": chunk.document_id, "chunk_id": chunk.id, "title": chunk.title, "quote": chunk.text[:QUOTED]}
            for chunk in new[:SHOWN]
        ]

    async def _difference(self, queued: Queued) -> dict[str, Any]:
        scope = await self._scope(queued.owner)
        turn = await self.conversations.turn(scope, queued.turn_id)
        context = replace(asked_again(turn, scope), stays=await self.stays(scope, turn.conversation_id))
        state = await self.graph.ainvoke({"question": turn.standalone or turn.question}, context=context)
        return difference(turn, state)

    async def _scope(self, user: str) -> Scope:
        return Scope(user, local_scope(await self.catalogue.collections()).collections)


def asked_again(turn: Turn, scope: Scope) -> Context:
    """As it was asked then, of what its owner may see today. Nothing of it leaves this machine."""
    return Context(
        scope.user,
        tuple(sorted(scope.collections)),
        mode=turn.mode,
        top_k=turn.top_k or TOP_K,
        as_of=turn.as_of,
        known_at=turn.known_at,
        filters=dict(turn.filters),
        fresh=True,
    )


def difference(turn: Turn, today: State | Mapping[str, Any]) -> dict[str, Any]:
    """What tells the answer of today from the one that was given; empty where they say the same.

    Markers do not count, nor does the order of sentences. A language model words things anew each time, so that some
    differences are none; they are shown for the reader to judge.
    """
    before, after = _sentences(turn.answer), _sentences(today.get("answer", ""))
    abstained = bool(today.get("abstained"))
    if abstained == turn.abstained and {_bare(one) for one in before} == {_bare(one) for one in after}:
        return {}
    return {
        "answer": today.get("answer", ""),
        "abstained": abstained,
        "gone": [] if turn.abstained else _without(before, after),
        "new": [] if abstained else _without(after, before),
        "sources": list(dict.fromkeys(str(citation["title"]) for citation in today.get("citations", ()))),
    }


_MARK = re.compile(r"\s*\[\d+\]")


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?])\s+|\n+", _MARK.sub("", text)) if part.strip()]


def _bare(sentence: str) -> str:
    return " ".join(re.findall(r"\w+", sentence.casefold()))


def _without(these: Sequence[str], those: Sequence[str]) -> list[str]:
    known = {_bare(one) for one in those}
    return [one for one in these if _bare(one) not in known]


@asynccontextmanager
async def open_afterwards(services: Services, answering: Answering) -> AsyncGenerator[Afterwards]:
    shared = services.database.dialect != "sqlite"
    afterwards = Afterwards(
        services.database,
        services.outbox,
        services.catalogue,
        services.answers,
        services.conversations,
        services.standing,
        services.recalls,
        search_of(services),
        graph_of(services).compile(name="recall"),
        lambda: answering.busy,
        Leases(services.database, new_id()) if shared else None,
        stays_of(services),
    )
    services.conversations.summaries = Summarise(
        services.conversations.summed, services.writer, services.writer.window, lambda: answering.busy
    )
    services.reading.busy = lambda: answering.busy
    following = asyncio.create_task(afterwards.follow(), name="afterwards")
    try:
        yield afterwards
    finally:
        services.conversations.summaries = None
        following.cancel()
        await asyncio.wait({following})
