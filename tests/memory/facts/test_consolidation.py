"""Duplicates merged and separated again, orphans taken out and put back, entities summarised; killed between any two
transactions it goes on where it was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select

from aegis.database import Database
from aegis.database.leases import Leases
from aegis.database.outbox import Outbox
from aegis.errors import Conflict
from aegis.scope import DEFAULT_COLLECTION, Scope, group_id
from memory.facts.consolidation import Consolidation, Run
from memory.facts.control import FactControl
from memory.facts.duplicates import Named, spelt_alike
from memory.facts.neighbourhoods import RelationalNeighbourhoods
from memory.facts.store import FactStore
from memory.facts.summaries import LONGEST, Summaries
from memory.facts.tables import changes, entities, facts, merged, summaries
from memory.facts.writing import GraphWriter
from tests.memory.library import Library

SCOPE = Scope("local")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GROUP = group_id("d", DEFAULT_COLLECTION)


class World:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOW
        self.library = Library(database)
        self.facts = FactStore(database, self.library.catalogue)
        self.control = FactControl(database, self.facts, Outbox(database), lambda: self.now)
        self.summaries = Summaries(database, self.library.catalogue)
        self.around = RelationalNeighbourhoods(database, self.library.catalogue)

    def consolidation(self, holder: str = "", hour: int | None = 3) -> Consolidation:
        leases = Leases(self.database, holder) if holder else None
        return Consolidation(
            self.database, Outbox(self.database), self.library.catalogue, leases, lambda: self.now, hour
        )

    async def about(self, query: str) -> list[str]:
        return sorted(scored.fact.text for scored in await self.facts.search(SCOPE, query))

    async def entity(self, name: str) -> Any:
        return (await self.facts.entities_named(SCOPE, [name]))[0]

    async def named(self, name: str) -> list[str]:
        return [entity.name for entity in await self.facts.entities_named(SCOPE, [name])]

    async def content(self) -> dict[str, Any]:
        """What a run leaves, but for ids and times of its own."""
        async with self.database.read() as connection:
            kept = {
                "merged": select(merged.c.entity_id, merged.c.into_id).order_by(merged.c.entity_id),
                "summaries": select(summaries.c.entity_id, summaries.c.fact_ids).order_by(summaries.c.entity_id),
                "changes": select(changes.c.kind, changes.c.fact_id, changes.c.other_id).order_by(changes.c.fact_id),
                "entities": select(entities.c.id).order_by(entities.c.id),
            }
            return {name: [tuple(row) for row in await connection.execute(query)] for name, query in kept.items()}

    async def add(self, identifier: str, name: str, key: str, age: timedelta = timedelta(days=1)) -> None:
        row = {"id": identifier, "group_id": GROUP, "collection": DEFAULT_COLLECTION, "name": name, "key": key}
        row |= {"labels": ["Entity"], "summary": "", "attributes": {}, "created_at": self.now - age}
        async with self.database.write() as connection:
            await connection.execute(insert(entities), [row])


@pytest.fixture
def world(any_database: Database) -> World:
    return World(any_database)


ACRONYM = "Nordic Ferry Lines (NFL) uses Copper Bay Bank. Nordic Ferry Lines owns Quarry Hill."
SPELT = "Open Crane uses Blue Glass. Open Crane is located in Bern."


async def filled(world: World) -> None:
    await world.library.put("Ferries", ACRONYM)
    await world.library.put("News", "NFL owns Kestrel Dock. NFL uses Basalt Crane.")
    await world.library.put("Cranes", SPELT)
    await world.library.put("Prices", "OpenCrane owns Red Glass. OpenCrane uses Basalt Crane.")
    await world.add("orphan", "Nobody Knows", "nobody knows")
    await world.add("young", "Just Written", "just written", timedelta(minutes=1))


async def test_one_entity_under_two_names_is_found_by_either(world: World) -> None:
    await filled(world)
    assert "NFL owns Kestrel Dock." not in await world.about("What does Nordic Ferry Lines own?")
    run = await world.consolidation().consolidate()
    assert (run.phase, run.merged, run.pruned) == ("done", 2, 1)
    for name in ("NFL", "Nordic Ferry Lines"):
        found = await world.about(f"What does {name} own?")
        assert {"NFL owns Kestrel Dock.", "Nordic Ferry Lines owns Quarry Hill."} <= set(found)
        assert (await world.entity(name)).name == "Nordic Ferry Lines"
        near = await world.around.around(SCOPE, [(await world.entity(name)).id])
        assert {"Kestrel Dock", "Quarry Hill"} <= {entity.name for entity in near.entities}
        assert "NFL" not in {entity.name for entity in near.entities}
    bank, dock = await world.entity("Copper Bay Bank"), await world.entity("Kestrel Dock")
    path = await world.around.path(SCOPE, bank.id, dock.id)
    known = {entity.id: entity.name for entity in path.entities}
    assert [known[each] for each in path.path] == ["Copper Bay Bank", "Nordic Ferry Lines", "Kestrel Dock"]


async def test_merging_is_undone_for_good(world: World) -> None:
    await filled(world)
    await world.consolidation().consolidate()
    history = [one for one in await world.control.history(SCOPE) if one.kind == "merged"]
    assert sorted(one.by for one in history) == ["rule", "rule"]
    (change,) = [one for one in history if "NFL" in one.reason]
    assert "Nordic Ferry Lines" in change.reason
    await world.control.undo(SCOPE, change.id)
    assert "NFL" in await world.named("NFL")
    assert "NFL owns Kestrel Dock." not in await world.about("What does Nordic Ferry Lines own?")
    world.now += timedelta(days=1)
    assert (await world.consolidation().consolidate()).merged == 0
    assert "NFL" in await world.named("NFL")


async def test_deleting_a_source_takes_what_it_brought_and_no_more(world: World) -> None:
    await filled(world)
    (chunk,) = await world.library.put("Further", "Nordic Ferry Lines supports Tidewater Lab.")
    await world.consolidation().consolidate()
    async with world.database.read() as connection:
        count = (await connection.execute(select(func.count()).select_from(facts))).scalar_one()
    versions = [await world.library.version_of(one) for one in world.library.extracts if one != chunk][:1]
    async with world.database.write() as connection:  # the one that says what NFL stands for
        for version in (*versions, await world.library.version_of(chunk)):
            await GraphWriter().remove(connection, version)
    async with world.database.read() as connection:
        left = (await connection.execute(select(func.count()).select_from(facts))).scalar_one()
        named = (await connection.execute(select(entities.c.name))).scalars().all()
        reasons = (await connection.execute(select(changes.c.reason))).scalars().all()
        assert (await connection.execute(select(merged.c.entity_id).where(merged.c.group_id != GROUP))).first() is None
    assert left < count
    assert "Nordic Ferry Lines" not in named
    assert not any("Nordic Ferry Lines" in reason for reason in reasons)
    assert (await world.entity("NFL")).name == "NFL"
    assert "NFL owns Kestrel Dock." in await world.about("NFL")


async def test_what_is_pruned_is_listed_and_put_back(world: World) -> None:
    await filled(world)
    await world.consolidation().consolidate()
    assert "orphan" not in [row[0] for row in (await world.content())["entities"]]
    assert "young" in [row[0] for row in (await world.content())["entities"]]  # somebody is just writing it
    (change,) = [one for one in await world.control.history(SCOPE) if one.kind == "pruned"]
    assert "Nobody Knows" in change.reason
    await world.control.undo(SCOPE, change.id)
    assert "orphan" in [row[0] for row in (await world.content())["entities"]]


async def test_a_summary_tells_what_holds_and_is_seen(world: World) -> None:
    await world.library.put("Labs", "Orion Labs uses Blue Glass. Orion Labs was founded by Ada Stone.")
    (chunk,) = await world.library.put("More", "Orion Labs is located in Bern.")
    await world.consolidation().consolidate()
    orion = await world.entity("Orion Labs")
    told = (await world.summaries.of(SCOPE, [orion.id]))[orion.id]
    assert {"Orion Labs uses Blue Glass.", "Orion Labs is located in Bern."} <= {
        f"{one}." for one in told[:-1].split(". ")
    }
    assert len(told) <= LONGEST
    assert await world.summaries.of(Scope("eve", frozenset({"board"})), [orion.id]) == {}
    (wrong,) = [one.fact for one in await world.facts.search(SCOPE, "Orion Labs") if "Blue" in one.fact.text]
    await world.control.forbid(SCOPE, wrong.id)
    assert "Blue Glass" not in (await world.summaries.of(SCOPE, [orion.id]))[orion.id]  # at once, not next night
    async with world.database.write() as connection:
        await GraphWriter().remove(connection, await world.library.version_of(chunk))
    assert "Bern" not in (await world.summaries.of(SCOPE, [orion.id])).get(orion.id, "")
    world.now += timedelta(days=1)
    assert (await world.consolidation().consolidate()).merged == 0


async def test_a_summary_is_bounded(world: World) -> None:
    text = " ".join(
        f"Orion Labs uses Part{number:02d} Engine with a rather long remark on what it is for." for number in range(9)
    )
    for number in range(4):
        await world.library.put(f"Labs {number}", text.replace("Part", f"Kind{number}"))
    await world.consolidation().consolidate()
    orion = await world.entity("Orion Labs")
    told = (await world.summaries.of(SCOPE, [orion.id]))[orion.id]
    assert 200 < len(told) <= LONGEST
    assert told.endswith(".")


async def test_killed_between_any_two_transactions_it_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory.facts.consolidation.PAGE", 3)
    await filled(world)
    await world.consolidation().consolidate()
    wanted = await world.content()
    assert all(wanted.values())
    async with world.database.write() as connection:
        for table in (merged, summaries):
            await connection.execute(delete(table))
        await connection.execute(delete(changes))
    await world.add("orphan", "Nobody Knows", "nobody knows")
    world.now += timedelta(minutes=1)
    steps = await _one_step_each(world)
    assert steps > 10
    assert await world.content() == wanted
    last = await world.consolidation().last()
    assert last is not None
    assert (last.merged, last.pruned) == (2, 1)


async def _one_step_each(world: World) -> int:
    """A new process for every transaction; how many it took."""
    steps = 0
    while True:
        dies = _Dying(world)
        try:
            await dies.consolidate()
        except KeyboardInterrupt:
            steps += 1
            continue
        return steps


class _Dying(Consolidation):
    """Gone after its first transaction."""

    def __init__(self, world: World) -> None:
        super().__init__(world.database, Outbox(world.database), world.library.catalogue, None, lambda: world.now, 3)

    async def step(self, run: Run) -> Run:
        run = await super().step(run)
        if run.phase != "done":
            raise KeyboardInterrupt
        return run


async def test_one_replica_does_it(world: World) -> None:
    await filled(world)
    first, second = world.consolidation("one"), world.consolidation("two")
    begun = await first.start()
    assert begun is not None
    assert (begun.phase, begun.ended_at) == ("merge", None)
    with pytest.raises(Conflict, match="Another server"):
        await second.start()
    with pytest.raises(Conflict):
        await second.consolidate()
    while first.running:
        await _moment()
    last = await second.last()
    assert last is not None
    assert last.phase == "done"
    world.now += timedelta(minutes=1)
    assert (await second.consolidate()).merged == 0


async def _moment() -> None:
    import asyncio

    await asyncio.sleep(0.01)


async def test_when_it_is_due(world: World) -> None:
    nightly = world.consolidation()
    assert await nightly.due()  # it never was done
    assert not await world.consolidation(hour=None).due()
    await nightly.consolidate()
    assert not await nightly.due()
    world.now = NOW + timedelta(hours=14)  # two in the morning
    assert not await nightly.due()
    world.now = NOW + timedelta(hours=15, minutes=1)
    assert await nightly.due()


def _named(*names: tuple[str, str, Sequence[str]]) -> list[Named]:
    return [
        Named(str(number), name, key, tuple(labels), NOW + timedelta(seconds=number))
        for number, (name, key, labels) in enumerate(names)
    ]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Open AI", "OpenAI", True),
        ("Acme Corp", "Acme Corporation", True),
        ("Smith and Sons", "Smith & Sons", True),
        ("Jean-Luc Picard", "Jean Luc Picard", True),
        ("Acme", "Acme Corp", False),
        ("Anna Berg", "Anne Berg", False),
        ("Version 11", "Version 1 1", False),
        ("Orion 3 11", "Orion 31 1", False),
        ("Al", "A l", False),
        ("Henry I", "Henry II", False),
    ],
)
def test_which_spellings_are_one(one: str, other: str, same: bool) -> None:
    from memory.naming import key

    found = spelt_alike(_named((one, key(one), ["Name"]), (other, key(other), ["Name"])))
    assert [(each.entity.name, each.into.name) for each in found] == ([(other, one)] if same else [])


def test_code_is_not_joined() -> None:
    assert spelt_alike(_named(("user_name", "user_name", ["Code"]), ("userName", "username", ["Code"]))) == []
