"""The cache as its users see it: two levels of answers, vectors of their questions, and one asker at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from typing import Literal

from memory.cache import Answers, Entry, Questions
from retrieval.store import Dense, Scored

Outcome = Literal["kept", "none", "failed"]
"""How a run that others waited for ended: its answer is kept; it had none to keep; it broke off."""


class AnswerCache:
    """`hot` holds the last entries of this process, `answers` all, perhaps shared with others.

    Entries in `hot` may be older than those in `answers`; whoever serves one compares its epoch first.
    """

    def __init__(self, hot: Answers, answers: Answers, questions: Questions) -> None:
        self._hot = hot
        self._answers = answers
        self._questions = questions
        self._asking: dict[str, tuple[str, asyncio.Future[Outcome]]] = {}  # entry id -> who asks, and the end of it

    async def exact(self, id: str) -> Entry | None:
        entry = await self._hot.get(id)
        if entry is not None:
            return entry
        entry = await self._answers.get(id)
        if entry is not None:
            await self._hot.put(entry)
        return entry

    async def at_hand(self, id: str) -> Entry | None:
        """Only what this process holds."""
        return await self._hot.get(id)

    async def near(self, key: str, vector: Dense, limit: int) -> list[tuple[Entry, float]]:
        """Entries of this key whose questions are nearest, with their cosines. Vectors without an entry are removed."""
        found = await self._questions.near(key, vector, limit)
        entries = [(await self._answers.get(scored.id), scored) for scored in found]
        await self._questions.remove([scored.id for entry, scored in entries if entry is None])
        return [_scored(entry, scored) for entry, scored in entries if entry is not None and entry.key == key]

    async def keep(self, entry: Entry, vector: Dense) -> None:
        await self._answers.put(entry)
        await self._hot.put(entry)
        await self._questions.add(entry.key, entry.id, vector)

    async def stamp(self, entry: Entry, epoch: int) -> Entry:
        """A search found the same at this epoch."""
        stamped = replace(entry, epoch=max(epoch, entry.epoch))
        await self._answers.put(stamped)
        await self._hot.put(stamped)
        return stamped

    async def drop(self, entry: Entry) -> None:
        await self._hot.remove([entry.id])
        await self._answers.remove([entry.id])
        await self._questions.remove([entry.id])

    async def evict(self, sources: Collection[str]) -> int:
        """Forget what rests on any of these versions, facts or conversations; how many answers went."""
        gone = {*await self._answers.evict(sources), *await self._hot.evict(sources)}
        await self._questions.remove(gone)
        return len(gone)

    def claim(self, id: str, asker: str) -> bool:
        """Whether this asker is the one to answer; if not, somebody is about to (`ended`)."""
        if id in self._asking:
            return self._asking[id][0] == asker
        self._asking[id] = (asker, asyncio.get_running_loop().create_future())
        return True

    async def ended(self, id: str) -> Outcome:
        """Returns when whoever is answering this has come to an end."""
        asking = self._asking.get(id)
        return await asyncio.shield(asking[1]) if asking else "failed"

    def release(self, asker: str, outcome: Outcome) -> None:
        """Call at the end of every run, however it ended; the first call counts."""
        for id in [id for id, (who, _) in self._asking.items() if who == asker]:
            _, end = self._asking.pop(id)
            end.set_result(outcome)


def _scored(entry: Entry, scored: Scored) -> tuple[Entry, float]:
    return entry, scored.score
