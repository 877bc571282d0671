"""Disagreement: the same subject and relation with another object in two documents, both of them valid.

Only relations that have one object at a time can disagree, and only while their times overlap. A fact that a person
confirmed settles it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, or_, select, tuple_

from aegis.database import Database
from aegis.scope import Scope
from memory.facts import Entity, Fact
from memory.facts.loading import load_facts
from memory.facts.tables import evidence, facts
from memory.facts.visibility import Epoch, groups_of, stated
from memory.naming import key
from memory.statements import single
from memory.statements.relations import SINGLE
from retrieval.tables import chunks

# Beside those that people state of themselves: what documents say of things that are in one state at a time.
_OF_DOCUMENTS = frozenset(("DIED_IN", "DIRECTED_BY", "MANAGED_BY", "OWNED_BY"))
MOST = 500  # subjects with several objects that are looked at
PAIRS = 100  # looked up in one statement


_PAIR = tuple_(facts.c.source_id, facts.c.relation)
_ONE_OBJECT = or_(facts.c.relation.in_(SINGLE | _OF_DOCUMENTS), facts.c.relation.startswith("HAS_AS_", autoescape=True))
_WANTED = and_(facts.c.group_id.in_(bindparam("groups", expanding=True)), _ONE_OBJECT, facts.c.expired_at.is_(None))
_SEVERAL = (
    select(facts.c.source_id, facts.c.relation)
    .where(_WANTED, stated(bindparam("epoch")))
    .group_by(facts.c.source_id, facts.c.relation)
    .having(func.count(facts.c.target_id.distinct()) > 1)
    .limit(MOST)
)
# From chunks over their versions to facts, each by an index: evidence has none by chunk.
_THESE = bindparam("chunks", expanding=True)
_VERSIONS = select(chunks.c.version_id).where(chunks.c.id.in_(_THESE))
_SAID = select(evidence.c.fact_id).where(evidence.c.version_id.in_(_VERSIONS), evidence.c.episode_id.in_(_THESE))
_SUBJECTS = select(facts.c.source_id, facts.c.relation).where(facts.c.id.in_(_SAID), _ONE_OBJECT)
_RIVALS = (
    select(facts.c.source_id, facts.c.relation)
    .where(facts.c.source_id.in_(bindparam("subjects", expanding=True)), _ONE_OBJECT)
    .group_by(facts.c.source_id, facts.c.relation)
    .having(func.count(facts.c.target_id.distinct()) > 1)
)


@dataclass(frozen=True, slots=True)
class Conflict:
    """Facts with one subject and relation and other objects, from different documents; newest evidence first."""

    subject: Entity
    relation: str
    claims: tuple[Fact, ...]


class Conflicts:
    def __init__(self, database: Database, epoch: Epoch) -> None:
        self._database = database
        self._epoch = epoch

    async def all(self, scope: Scope) -> list[Conflict]:
        return await self._among(scope, None)

    async def of_documents(self, scope: Scope, document_ids: Iterable[str]) -> list[Conflict]:
        """Those in which one of these documents has a say."""
        wanted = set(document_ids)
        return [one for one in await self._among(scope, None) if wanted & _documents(one.claims)]

    async def of_chunks(self, scope: Scope, chunk_ids: Sequence[str]) -> list[Conflict]:
        """Those of facts that these chunks state: what an answer rests on."""
        return await self._among(scope, list(chunk_ids)) if chunk_ids else []

    async def _among(self, scope: Scope, chunk_ids: Sequence[str] | None) -> list[Conflict]:
        at, groups = await self._epoch.epoch(), groups_of(scope.documents_only())
        given: dict[str, Any] = {"groups": groups, "epoch": at}
        several = _SEVERAL
        if chunk_ids is not None:
            stated_there = await self._database.look(lambda c: _rivalled(c, chunk_ids))
            if not stated_there:
                return []  # as nearly always
            several = _SEVERAL.where(_PAIR.in_(stated_there))
        async with self._database.read() as connection:
            pairs = [(row[0], row[1]) for row in await connection.execute(several, given)]
            found: list[Fact] = []
            for start in range(0, len(pairs), PAIRS):
                among = _PAIR.in_(pairs[start : start + PAIRS])
                wanted = and_(facts.c.group_id.in_(groups), _ONE_OBJECT, facts.c.expired_at.is_(None), among)
                found += await load_facts(connection, groups, at, wanted)
        return _conflicts(found)


def _rivalled(connection: Connection, chunk_ids: Sequence[str]) -> list[tuple[str, str]]:
    """Subjects and relations that these chunks state a fact of, and that have more than one object, seen or not."""
    mine = {(row[0], row[1]) for row in connection.execute(_SUBJECTS, {"chunks": chunk_ids})}
    if not mine:
        return []
    rivals = connection.execute(_RIVALS, {"subjects": list({subject for subject, _ in mine})})
    return sorted(mine & {(row[0], row[1]) for row in rivals})


def told(conflict: Conflict) -> str:
    """In one sentence, naming who says what."""
    claims = "; ".join(f"“{fact.evidence[0].quote}”" for fact in conflict.claims if fact.evidence)
    relation = conflict.relation.removeprefix("HAS_AS_").replace("_", " ").lower()
    return f"Documents disagree about {conflict.subject.name} ({relation}): {claims}"


def _conflicts(found: Sequence[Fact]) -> list[Conflict]:
    together: dict[tuple[str, str], list[Fact]] = {}
    for fact in found:
        if fact.relation in _OF_DOCUMENTS or single(fact.relation):
            together.setdefault((fact.source.id, fact.relation), []).append(fact)
    made: list[Conflict] = []
    for (_, relation), claims in together.items():
        if any(fact.confirmed for fact in claims):
            continue
        opposed = {fact.id for pair in combinations(claims, 2) if _disagree(*pair) for fact in pair}
        if opposed:
            kept = sorted((fact for fact in claims if fact.id in opposed), key=_newest, reverse=True)
            made.append(Conflict(claims[0].source, relation, tuple(kept)))
    return made


def _disagree(one: Fact, other: Fact) -> bool:
    mine, theirs = set(key(one.target.name).split()), set(key(other.target.name).split())
    if mine <= theirs or theirs <= mine:
        return False  # the same, named more or less exactly
    ours, others = _documents([one]), _documents([other])
    return bool(ours ^ others) and len(ours | others) > 1 and _overlap(one, other)


def _overlap(one: Fact, other: Fact) -> bool:
    """Whether there is a time at which both are said to hold."""
    ends = [fact.invalid_at for fact in (one, other)]
    starts = [other.valid_at, one.valid_at]
    return all(end is None or start is None or start < end for end, start in zip(ends, starts, strict=True))


def _documents(claims: Iterable[Fact]) -> set[str]:
    return {proof.document_id for fact in claims for proof in fact.evidence if proof.document_id}


def _newest(fact: Fact) -> tuple[float, str]:
    dated = [proof.dated.timestamp() for proof in fact.evidence if proof.dated is not None]
    return max(dated, default=0.0), fact.id
