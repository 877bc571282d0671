"""How sound the memory is: quotes that stand in no source any more, objects that belong to nothing, contradictions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlalchemy import RowMapping, exists, func, select, tuple_

from aegis.database import Database
from aegis.scope import Scope
from memory.facts.conflicts import Conflicts
from memory.facts.tables import entities, episodes, evidence, facts, mentions
from memory.facts.visibility import Epoch, groups_of, stated
from retrieval.tables import chunks, versions, visible_at

PAGE = 500  # rows of evidence compared at a time


@dataclass(frozen=True, slots=True)
class Audit:
    """`missing`: ids of facts of which no quote stands in its source; shares are of all facts, 0 to 1."""

    facts: int
    entities: int
    missing: tuple[str, ...]
    unproven: int  # facts without any evidence
    orphans: int  # entities that nothing mentions and no fact joins
    contradictions: int

    @property
    def missing_share(self) -> float:
        return len(self.missing) / self.facts if self.facts else 0.0


class Auditor:
    def __init__(self, database: Database, epoch: Epoch) -> None:
        self._database = database
        self._epoch = epoch
        self._conflicts = Conflicts(database, epoch)

    async def audit(self, scope: Scope) -> Audit:
        at, groups = await self._epoch.epoch(), groups_of(scope)
        quoted, proven = await self._quoted(groups, at)
        lonely = (
            ~exists(select(1).where(mentions.c.entity_id == entities.c.id)),
            ~exists(select(1).where(facts.c.source_id == entities.c.id)),
            ~exists(select(1).where(facts.c.target_id == entities.c.id)),
        )
        bare = ~exists(select(1).where(evidence.c.fact_id == facts.c.id))
        async with self._database.read() as connection:
            counts = [
                int((await connection.execute(query)).scalar_one())
                for query in (
                    select(func.count()).where(facts.c.group_id.in_(groups), stated(at)),
                    select(func.count()).where(entities.c.group_id.in_(groups)),
                    select(func.count()).where(facts.c.group_id.in_(groups), bare),
                    select(func.count()).where(entities.c.group_id.in_(groups), *lonely),
                )
            ]
        against = len(await self._conflicts.all(scope))
        return Audit(counts[0], counts[1], tuple(sorted(proven - quoted)), counts[2], counts[3], against)

    async def _quoted(self, groups: list[str], epoch: int) -> tuple[set[str], set[str]]:
        """(facts with a quote that stands where the evidence says, facts with evidence that is seen)."""
        quoted: set[str] = set()
        proven: set[str] = set()
        after = ("", "", -1)
        where = (evidence.c.fact_id, evidence.c.episode_id, evidence.c.start)
        while True:
            query = (
                select(evidence, facts.c.text.label("fact"), chunks.c.text, chunks.c.start.label("begin"))
                .add_columns(episodes.c.content, versions.c.id.label("seen"))
                .join(facts, facts.c.id == evidence.c.fact_id)
                .outerjoin(chunks, chunks.c.id == evidence.c.episode_id)
                .outerjoin(episodes, episodes.c.id == evidence.c.episode_id)
                .outerjoin(versions, (versions.c.id == evidence.c.version_id) & visible_at(epoch))
                .where(evidence.c.group_id.in_(groups), tuple_(*where) > after)
                .order_by(*where)
                .limit(PAGE)
            )
            async with self._database.read() as connection:
                rows = (await connection.execute(query)).mappings().all()
            for row in rows:
                if row["version_id"] is None or row["seen"] is not None:
                    proven.add(row["fact_id"])
                    if _stands(row):
                        quoted.add(row["fact_id"])
            if len(rows) < PAGE:
                return quoted, proven
            after = (rows[-1]["fact_id"], rows[-1]["episode_id"], rows[-1]["start"])
            await asyncio.sleep(0)


def _stands(row: RowMapping) -> bool:
    """Whether the source holds the quote at the place that the evidence names."""
    quote = " ".join((row["quote"] or row["fact"]).split())
    text, begin = (row["content"], 0) if row["version_id"] is None else (row["text"], row["begin"] or 0)
    if text is None:
        return False
    return " ".join(text[row["start"] - begin : row["end"] - begin].split()) == quote
