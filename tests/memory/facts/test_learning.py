"""Facts from conversations: drawn from committed turns, once, and superseded by what is said later."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from aegis.database import Database
from aegis.database.outbox import Outbox
from aegis.scope import Scope, new_id
from memory.conversations import Turn
from memory.conversations.store import SqlConversations
from memory.conversations.tables import TURNS_TOPIC
from memory.facts import Fact
from memory.facts.learning import Learner, Said, learn
from memory.facts.store import FactStore
from memory.facts.tables import changes, entities, episodes, evidence, facts, mentions
from memory.statements import statements
from retrieval.catalogue import Catalogue

ANN, BOB = Scope("ann"), Scope("bob")
DAY = datetime(2024, 1, 5, 12, tzinfo=UTC)
CASES = Path(__file__).parent.parent / "statements" / "changes.txt"


@dataclass
class Talk:
    """A person's conversation, and the worker that reads it."""

    database: Database

    @property
    def store(self) -> FactStore:
        return FactStore(self.database, Catalogue(self.database))

    @property
    def kept(self) -> SqlConversations:
        return SqlConversations(self.database, lambda: DAY)

    async def say(self, scope: Scope, text: str, days: int = 0, *, conversation: str = "", answer: str = "") -> Turn:
        turn = Turn(new_id(), conversation or new_id(), text, answer=answer, created_at=DAY + timedelta(days=days))
        await self.kept.begin(scope, turn)
        return turn

    async def read(self) -> None:
        """As the projection does, from the first turn on: all that was read before comes again."""
        outbox = Outbox(self.database)
        await Learner(self.database, outbox).apply(await outbox.pending([TURNS_TOPIC], 0, 1000))

    async def known(self, scope: Scope, query: str, *, as_of: int | None = None, known: int | None = None) -> list[str]:
        found = await self.store.search(
            scope,
            query,
            as_of=None if as_of is None else DAY + timedelta(days=as_of),
            known=None if known is None else DAY + timedelta(days=known),
        )
        return [scored.fact.target.name for scored in found]


@pytest.fixture
def talk(any_database: Database) -> Talk:
    return Talk(any_database)


async def rows(database: Database) -> dict[str, int]:
    async with database.read() as connection:
        return {
            table.name: int((await connection.execute(select(func.count()).select_from(table))).scalar_one())
            for table in (facts, entities, evidence, episodes, mentions, changes)
        }


async def test_a_statement_becomes_a_fact_with_the_turn_that_states_it(talk: Talk) -> None:
    turn = await talk.say(ANN, "Hello! I live in Berlin with my cat.")
    await talk.read()
    (found,) = await talk.store.search(ANN, "Where do I live?")
    fact = found.fact
    assert (fact.source.name, fact.relation, fact.target.name) == ("You", "LIVES_IN", "Berlin")
    assert (fact.memory, fact.valid_at, fact.invalid_at) == ("conversations", DAY, None)
    (proof,) = fact.evidence
    assert (proof.turn_id, proof.conversation_id, proof.dated) == (turn.id, turn.conversation_id, DAY)
    assert turn.question[proof.span.start : proof.span.end] == proof.quote == "I live in Berlin with my cat."
    assert (proof.document_id, proof.chunk_id) == ("", "")


async def test_one_person_never_sees_what_another_said(talk: Talk) -> None:
    await talk.say(ANN, "I live in Berlin.")
    await talk.say(BOB, "I live in Rome.")
    await talk.read()
    assert await talk.known(ANN, "Where do I live?") == ["Berlin"]
    assert await talk.known(BOB, "Where do I live? Berlin?") == ["Rome"]
    assert await talk.known(Scope("eve"), "Berlin Rome, where do I live?") == []
    assert await talk.known(ANN.documents_only(), "Where do I live? Berlin?") == []
    assert await talk.known(ANN.narrowed("default"), "Where do I live? Berlin?") == []


async def test_the_answer_states_nothing(talk: Talk) -> None:
    turn = await talk.say(ANN, "Where do I live?", answer="You live in Rome. I live in the cloud.")
    await talk.kept.finish(ANN, turn)
    await talk.read()
    assert (await rows(talk.database))["fact_changes"] == (await rows(talk.database))["facts"] == 0


async def test_reading_a_turn_again_doubles_nothing(talk: Talk) -> None:
    for day, text in enumerate(["I live in Berlin.", "I moved to Rome.", "I have a dog.", "I live in Berlin again."]):
        await talk.say(ANN, text, day)
    await talk.read()
    before = await rows(talk.database)
    for _ in range(3):
        await talk.read()
    assert await rows(talk.database) == before
    assert (await talk.known(ANN, "Where do I live?"))[0] == "Berlin"


async def test_time(talk: Talk) -> None:
    await talk.say(ANN, "I live in Berlin.")
    await talk.say(ANN, "I moved to Rome last week.", 100)
    await talk.read()
    ask = "Where do I live?"
    assert await talk.known(ANN, ask) == ["Rome"]
    assert await talk.known(ANN, ask, as_of=50) == ["Berlin"]
    assert await talk.known(ANN, ask, as_of=-1) == []
    assert await talk.known(ANN, ask, as_of=99) == ["Rome"]  # true by then, learnt a day later
    assert await talk.known(ANN, ask, as_of=99, known=99) == ["Berlin"]
    assert await talk.known(ANN, ask, known=50) == ["Berlin"]


async def test_what_is_said_later_holds_in_whatever_order_it_is_read(any_database: Database) -> None:
    for user, order in (("a", (0, 1, 2)), ("b", (2, 1, 0)), ("c", (1, 2, 0))):
        texts = ["I live in Berlin.", "I live in Rome.", "I live in Oslo."]
        for index in order:
            at = DAY + timedelta(days=index)
            async with any_database.write() as connection:
                await learn(connection, Said(new_id(), "c", user, texts[index], at), statements(texts[index], at))
        store = FactStore(any_database, Catalogue(any_database))
        assert [one.fact.target.name for one in await store.search(Scope(user), "Where do I live?")] == ["Oslo"]


async def test_deleting_the_conversation_takes_its_facts_and_what_they_ended_holds_again(talk: Talk) -> None:
    await talk.say(ANN, "I live in Berlin.")
    later = await talk.say(ANN, "I moved to Rome.", 5)
    await talk.read()
    assert await talk.known(ANN, "Where do I live?") == ["Rome"]
    await talk.kept.delete(ANN, later.conversation_id)
    assert await talk.known(ANN, "Where do I live?") == ["Berlin"]
    assert (await rows(talk.database))["fact_changes"] == 0
    await talk.read()
    assert await talk.known(ANN, "Where do I live?") == ["Berlin"]


async def _outcome(database: Database, number: int, turns: list[tuple[str, str]]) -> dict[int, list[Fact]]:
    """Facts by the turn that states them."""
    user = f"user {number}"
    for index, (day, text) in enumerate(turns, 1):
        at = datetime.fromisoformat(f"{day}T12:00:00+00:00")
        async with database.write() as connection:
            await learn(connection, Said(f"{number}-{index}", "c", user, text, at), statements(text, at))
    found: dict[int, list[Fact]] = {}
    for fact in await FactStore(database, Catalogue(database)).page(Scope(user), limit=100):
        for proof in fact.evidence:
            found.setdefault(int(proof.turn_id.split("-")[1]), []).append(fact)
    return found


async def test_true_facts_stay_and_changed_ones_end(database: Database) -> None:
    """200 cases. No true fact may be retired; of the changed ones nine in ten must be."""
    retired, changed, lost, unlearnt = Counter[str](), 0, list[str](), list[str]()
    lines = [line for line in CASES.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert len(lines) >= 200
    for number, line in enumerate(lines):
        kind, over, true, said = (part.strip() for part in line.split("|"))
        turns = [(turn[:10], turn[11:]) for turn in said.split(" / ")]
        found = await _outcome(database, number, turns)
        for index in map(int, filter(None, true.split(","))):
            unlearnt += [line] if index not in found else []
            lost += [line for fact in found.get(index, ()) if fact.expired_at is not None]
        for index in map(int, filter(None, over.split(","))):
            changed += 1
            retired[kind] += any(fact.expired_at is not None for fact in found.get(index, ()))
    assert lost == []
    assert unlearnt == []
    print(f"{sum(retired.values())} of {changed} changed facts retired")  # noqa: T201 - a figure
    assert sum(retired.values()) >= 0.9 * changed
