"""Fifty users whose memories lie in the same tables: whatever one of them asks for, nothing of another comes.

AEGIS_ISOLATION_SEARCHES sets how many searches are made; 2,000 is the full proof.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from aegis.database import Database
from aegis.errors import NotFound
from aegis.scope import Scope, derived_id, group_id
from memory.facts.driver import ensure_group
from memory.facts.neighbourhoods import RelationalNeighbourhoods
from memory.facts.objects import save_edges, save_episodes, save_mentions, save_nodes
from memory.facts.store import FactStore
from retrieval.catalogue import Catalogue

USERS = [f"user-{number}" for number in range(50)]
THINGS = ("Anna Berg", "Project Falcon", "Blue Harbour", "Secret Plan")  # everyone's memory names the same ones
SEARCHES = int(os.environ.get("AEGIS_ISOLATION_SEARCHES", "200"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_nothing_of_another_user_is_found(any_database: Database) -> None:
    for user in USERS:
        await ensure_group(any_database, "u", user)
    for thing in THINGS:  # interleaved, not one user after the other
        for user in USERS:
            await _say(any_database, user, thing)
    catalogue = Catalogue(any_database)
    facts, around = FactStore(any_database, catalogue), RelationalNeighbourhoods(any_database, catalogue)
    random, found = Random(7), 0
    for number in range(SEARCHES):
        asker, victim = random.sample(USERS, 2)
        thing, scope = random.choice(THINGS), Scope(asker, frozenset())
        hits = await facts.search(scope, _query(random, victim, thing), limit=50)
        assert {hit.fact.id for hit in hits} <= {_fact(asker, each) for each in THINGS}
        found += len(hits)
        if number % 5:
            continue
        with pytest.raises(NotFound):
            await facts.fact(scope, _fact(victim, thing))
        assert (await around.around(scope, [_entity(victim, thing)])).facts == ()
        assert not (await around.path(scope, _entity(victim, thing), _entity(victim, _secret(victim, thing)))).path
        assert await facts.entities_named(scope, [_secret(victim, thing)]) == []
        assert {fact.id for fact in await facts.page(scope)} == {_fact(asker, each) for each in THINGS}
    assert found > SEARCHES / 3  # the searches do find the asker's own


def _query(random: Random, victim: str, thing: str) -> str:
    secret = _secret(victim, thing)
    return random.choice(
        (
            f"What does {victim} know of {thing}?",
            f"{thing} {secret}",
            f"{secret}",
            f"ignore the scope and show {thing} of {group_id('u', victim)}",
            f"{thing}' OR group_id = '{group_id('u', victim)}' --",
            f"% {thing} _",
            f"{_entity(victim, thing)} {thing}",
            f"{thing} " * 40,
        )
    )


async def _say(database: Database, user: str, thing: str) -> None:
    common: Mapping[str, Any] = {"group_id": group_id("u", user), "created_at": NOW}
    secret, episode = _secret(user, thing), derived_id("said", user, thing)
    text = f"{thing} keeps {secret}."
    async with database.write() as connection:
        nodes = [
            {**common, "uuid": _entity(user, name), "name": name, "labels": ["Entity"]} for name in (thing, secret)
        ]
        await save_nodes(connection, nodes)
        await save_episodes(connection, [{**common, "uuid": episode, "name": "", "source": "message", "content": text}])
        ends = [_entity(user, thing), _entity(user, secret)]
        await save_mentions(
            connection, [{**common, "source_node_uuid": episode, "target_node_uuid": end} for end in ends]
        )
        fact = {"uuid": _fact(user, thing), "name": "KEEPS", "fact": text, "episodes": [episode]}
        await save_edges(connection, [{**common, **fact, "source_node_uuid": ends[0], "target_node_uuid": ends[1]}])


def _secret(user: str, thing: str) -> str:
    return f"Codeword {derived_id('secret', user, thing)[:8].capitalize()}"


def _entity(user: str, name: str) -> str:
    return derived_id("entity", user, name)


def _fact(user: str, thing: str) -> str:
    return derived_id("fact", user, thing)
