"""What the store keeps of running summaries: which turns one does not tell of yet, and the text itself.

A summary stands in its conversation's row and goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update

from aegis.database import Database
from aegis.scope import Scope
from memory.conversations import RECENT, SAID, Turn
from memory.conversations.store import SqlConversations
from memory.conversations.tables import conversations, turns

MOST = 20  # turns added to a summary at a time


@dataclass(frozen=True, slots=True)
class Unsummed:
    """The summary so far, how far it reaches (an ordinal), and what follows: turns with their ordinals, in order."""

    summary: str
    reaches: int
    turns: Sequence[tuple[int, Turn]]


class SqlSummaries:
    def __init__(self, database: Database, store: SqlConversations) -> None:
        self._database = database
        self._store = store

    async def unsummed(self, scope: Scope, conversation_id: str) -> Unsummed | None:
        """Older than the last RECENT turns, which stand word for word. None where there is no such conversation."""
        said = (turns.c.conversation_id == conversation_id, turns.c.state.in_(SAID))
        newest = select(turns.c.ordinal).where(*said).order_by(turns.c.ordinal.desc())
        head = select(conversations.c.summary, conversations.c.summed).where(*_mine(scope, conversation_id))
        async with self._database.read() as connection:
            row = (await connection.execute(head)).one_or_none()
            if row is None:
                return None
            verbatim = (await connection.execute(newest.offset(RECENT - 1).limit(1))).scalar_one_or_none() or 0
            between = (turns.c.ordinal > row.summed, turns.c.ordinal < verbatim)
            older = select(turns.c.id, turns.c.ordinal).where(*said, *between).order_by(turns.c.ordinal).limit(MOST)
            ordinals = {id: int(ordinal) for id, ordinal in await connection.execute(older)}
        found = await self._store.turns(scope, list(ordinals))
        return Unsummed(row.summary, row.summed, [(at, found[id]) for id, at in ordinals.items() if id in found])

    async def keep(self, scope: Scope, conversation_id: str, before: Unsummed, summary: str, reaches: int) -> bool:
        """False where another process was quicker, or the conversation is gone."""
        unchanged = (*_mine(scope, conversation_id), conversations.c.summed == before.reaches)
        change = update(conversations).where(*unchanged).values(summary=summary, summed=reaches)
        async with self._database.write() as connection:
            return bool((await connection.execute(change)).rowcount)


def _mine(scope: Scope, conversation_id: str):
    return conversations.c.id == conversation_id, conversations.c.owner == scope.user
