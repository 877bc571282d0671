"""What of the graph memory is seen, by whom and when: conditions on its tables.

A row belongs to a group; a fact is seen while one of its evidence rows is, an entity while an episode that names it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import BindParameter, and_, exists, or_, select, true

from aegis.scope import Scope, group_id
from inference.sharing import is_private
from memory.facts.tables import entities, episodes, evidence, facts, mentions
from retrieval.tables import versions, visible_at


class Epoch(Protocol):
    """What is needed of `retrieval.catalogue.Catalogue`."""

    async def epoch(self) -> int: ...


def groups_of(scope: Scope) -> list[str]:
    """The groups of a scope's collections, and that of its user."""
    of_documents = [group_id("d", collection) for collection in sorted(scope.collections)]
    return [*of_documents, group_id("u", scope.user)] if scope.personal else of_documents


def shown(epoch: int | BindParameter[int]) -> Any:
    """Condition on evidence outer-joined with versions: seen at this epoch. Without a version it always is."""
    return or_(evidence.c.version_id.is_(None), visible_at(epoch))


def stated(epoch: int | BindParameter[int], as_of: datetime | None = None) -> Any:
    """Condition on facts: at least one evidence row is seen at this epoch, and none that dates the fact is later."""
    seen = evidence.outerjoin(versions, versions.c.id == evidence.c.version_id)
    proven = [evidence.c.fact_id == facts.c.id, shown(epoch)]
    if as_of is not None:  # a fact without a date of its own was not known to hold before its document was written
        proven.append(or_(facts.c.valid_at.is_not(None), versions.c.dated.is_(None), versions.c.dated <= as_of))
    return exists(select(1).select_from(seen).where(*proven))


def true_at(moment: datetime, known: datetime | None = None) -> Any:
    """Condition on facts: true then, as far as is stated; and as far as was `known` then."""
    ended = facts.c.invalid_at <= moment
    if known is not None:
        ended = and_(ended, or_(facts.c.expired_at.is_(None), facts.c.expired_at <= known))
    began = or_(facts.c.valid_at.is_(None), facts.c.valid_at <= moment)
    return and_(began, or_(facts.c.invalid_at.is_(None), ~ended))


def learnt_by(known: datetime) -> Any:
    """Condition on facts of conversations: said by then. Those of documents follow their versions' epochs."""
    return or_(facts.c.collection != "", facts.c.created_at <= known)


def mentioned(epoch: int) -> Any:
    """Condition on entities: an episode seen at this epoch mentions it."""
    seen = mentions.join(episodes, episodes.c.id == mentions.c.episode_id).outerjoin(
        versions, versions.c.id == episodes.c.version_id
    )
    visible = or_(episodes.c.version_id.is_(None), visible_at(epoch))
    return exists(select(1).select_from(seen).where(mentions.c.entity_id == entities.c.id, visible))


def open_facts(only: bool = True) -> Any:
    """Condition on facts: no private document states them. Without `only` all are let through."""
    stating = evidence.join(versions, versions.c.id == evidence.c.version_id)
    private = select(1).select_from(stating).where(evidence.c.fact_id == facts.c.id, is_private(versions.c.document_id))
    return ~exists(private) if only else true()


def open_entities(only: bool = True) -> Any:
    """The same of entities: no private document mentions them."""
    naming = mentions.join(episodes, episodes.c.id == mentions.c.episode_id).join(
        versions, versions.c.id == episodes.c.version_id
    )
    here = (mentions.c.entity_id == entities.c.id, is_private(versions.c.document_id))
    return ~exists(select(1).select_from(naming).where(*here)) if only else true()


def open_episodes(only: bool = True) -> Any:
    """The same of episodes: they are no chunks of private documents."""
    of = select(1).where(versions.c.id == episodes.c.version_id, is_private(versions.c.document_id))
    return ~exists(of.correlate(episodes)) if only else true()


@dataclass(frozen=True, slots=True)
class Time:
    """When facts are to hold: known at this epoch (and said by `known`), true at `as_of`, or now."""

    epoch: int
    as_of: datetime | None
    known: datetime | None
    asked: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def moment(self) -> datetime:
        return self.as_of or self.known or self.asked

    def condition(self) -> Any:
        holds = true_at(self.moment, self.known)
        if self.known is not None:
            return and_(holds, learnt_by(self.known))
        return holds if self.as_of is not None else and_(holds, facts.c.expired_at.is_(None))
