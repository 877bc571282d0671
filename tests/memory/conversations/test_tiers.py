"""What moves between the tiers is neither lost nor doubled, and is found wherever it stands."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.errors import DataFolderError, NotFound, StoreUnavailable
from aegis.scope import Scope, new_id
from memory.conversations import KEPT, Turn
from memory.conversations.hot import Block, ProcessHot
from memory.conversations.tables import archives, turns, unindexed, vectors
from memory.conversations.tiers import TieredConversations
from memory.facts.learning import Said, learn
from memory.facts.tables import episodes
from memory.statements import statements
from retrieval.blobs import Blobs
from tests.memory.conversations.talks import ANN, BOB, START, answered, asked, tell, tiers


@pytest.fixture
def kept(any_database: Database, tmp_path: Path) -> TieredConversations:
    return tiers(any_database, tmp_path)


async def count(database: Database, query: Any) -> int:
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(query.subquery()))).scalar_one())


def blobs(folder: Path) -> list[Path]:
    return [file for file in (folder / "blobs").glob("*/*") if file.is_file()]


async def test_older_bodies_move_to_the_archive_and_are_read_back(
    kept: TieredConversations, any_database: Database, tmp_path: Path
) -> None:
    told = await tell(kept, 60)
    conversation = told[0].conversation_id
    await kept.settle()
    here = select(turns.c.id).where(turns.c.archive.is_(None))
    assert await count(any_database, here) <= KEPT
    assert blobs(tmp_path)
    assert await kept.history(ANN, conversation) == told
    assert await tiers(any_database, tmp_path).history(ANN, conversation) == told  # another process
    assert await kept.turn(ANN, told[0].id) == told[0]
    await kept.feedback(ANN, told[0].id, {"value": 1})
    assert await kept.turn(ANN, told[0].id) == replace(told[0], feedback={"value": 1})
    with pytest.raises(NotFound):
        await kept.turn(BOB, told[0].id)


async def test_a_conversation_that_goes_on_keeps_at_most_fifty_messages_in_rows(
    kept: TieredConversations, any_database: Database
) -> None:
    told = await tell(kept, KEPT - 1)
    conversation = told[0].conversation_id
    for number in range(15):
        await kept.finish(ANN, answered(asked(f"{number}?", conversation)))
        await kept.settle()
        assert await count(any_database, select(turns.c.id).where(turns.c.archive.is_(None))) <= KEPT
    assert [turn.question for turn in await kept.history(ANN, conversation)] == [
        *(turn.question for turn in told),
        *(f"{number}?" for number in range(15)),
    ]


async def test_a_turn_that_is_finished_again_while_it_moves_is_what_it_was_last(
    kept: TieredConversations, any_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await tell(kept, KEPT + 5)
    archive = kept._archive  # pyright: ignore[reportPrivateUsage]  # to come in between its steps
    put = archive._blobs.put  # pyright: ignore[reportPrivateUsage]
    again = replace(told[0], answer="What another replica found in the end.")

    class Meanwhile:
        async def put(self, data: bytes) -> str:
            await kept.finish(ANN, again)
            return await put(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(type(self), name)

    monkeypatch.setattr(archive, "_blobs", Meanwhile())
    assert await archive.move(told[0].conversation_id) == 0
    monkeypatch.undo()
    assert await kept.history(ANN, told[0].conversation_id) == [again, *told[1:]]
    await kept.settle()
    assert await kept.history(ANN, told[0].conversation_id) == [again, *told[1:]]
    assert len(blobs(tmp_path)) == await count(any_database, select(archives))


async def test_turns_that_come_while_others_are_indexed_are_indexed_the_next_time(
    kept: TieredConversations, any_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together, that is: chased one by one, each has a commit of its own, and the turn after it waits for that."""
    index = kept._index  # pyright: ignore[reportPrivateUsage]  # to come in between its steps
    encoded, rounds = index._encoded, list[int]()  # pyright: ignore[reportPrivateUsage]

    async def meanwhile(own: Sequence[str], both: Sequence[str]) -> Any:
        rounds.append(len(own))
        if len(rounds) < 5:
            await kept.finish(ANN, answered(asked()))
        return await encoded(own, both)

    await tell(kept, 3)
    monkeypatch.setattr(index, "_encoded", meanwhile)
    await kept.settle()
    assert len(rounds) == 1
    assert await count(any_database, select(unindexed)) == 1
    await kept.finish(ANN, answered(asked()))
    await kept.settle()
    assert rounds == [3, 2]


async def test_deleting_erases_rows_vectors_and_files_with_a_receipt(
    kept: TieredConversations, any_database: Database, tmp_path: Path
) -> None:
    told = await tell(kept, 60)
    other = await tell(kept, 2, BOB)
    await kept.settle()

    class Drawn:
        name = "saved answers"

        async def forget(self, connection: AsyncConnection, scope: Scope, conversation_id: str) -> int:
            assert (scope, conversation_id) == (ANN, told[0].conversation_id)
            return 3

    kept.store.forgetting.append(Drawn())
    receipt = await kept.delete(ANN, told[0].conversation_id)
    assert (receipt.turns, receipt.further) == (60, {"facts": 0, "saved answers": 3})
    assert receipt.archives > 0
    assert blobs(tmp_path) == []
    assert await count(any_database, select(archives)) == 0
    assert await count(any_database, select(vectors)) == len(other)
    assert await kept.search(ANN, "Question number 3") == []


async def test_files_whose_conversation_went_while_the_store_was_away_go_later(
    kept: TieredConversations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await tell(kept, 60)
    await kept.settle()

    async def away(_blobs: Blobs, _digest: str) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(Blobs, "delete", away)
    await kept.delete(ANN, told[0].conversation_id)
    assert blobs(tmp_path)
    monkeypatch.undo()
    await kept.settle()
    assert blobs(tmp_path) == []


async def test_a_missing_archive_is_said_and_the_rest_goes_on(kept: TieredConversations, tmp_path: Path) -> None:
    told = await tell(kept, 60)
    await kept.settle()
    for file in blobs(tmp_path):
        file.unlink()
    fresh = tiers(kept.store._database, tmp_path)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(DataFolderError, match="backup"):
        await fresh.history(ANN, told[0].conversation_id)
    assert list(await fresh.recent(ANN, told[0].conversation_id)) == told[-5:]
    await fresh.finish(ANN, answered(asked("And now?", told[0].conversation_id)))
    assert (await fresh.recent(ANN, told[0].conversation_id))[-1].question == "And now?"


async def test_search_finds_turns_of_every_tier_by_words_and_by_meaning(kept: TieredConversations) -> None:
    conversation = new_id()
    dog = answered(asked("My dog is called Bello.", conversation), "Noted, Bello it is.")
    await kept.finish(ANN, dog)
    await tell(kept, 3)
    more = [answered(asked(f"What does setting {n} do?", conversation), "It sets something.") for n in range(60)]
    await kept.take_in(ANN, await kept.get(ANN, conversation), more)
    await kept.settle()
    assert (await kept.store.turns(ANN, [dog.id]))[dog.id].question == dog.question
    assert (await kept.search(ANN, "Bello"))[0].turn.id == dog.id
    assert dog.id in [found.turn.id for found in (await kept.search(ANN, "the puppy's name", limit=3))]
    assert await kept.search(BOB, "Bello") == []
    assert [one.id for one in await kept.list(ANN, holding="bello")] == [conversation]
    assert [turn.id for turn in await kept.mentioning(ANN, ["bello"])] == [dog.id]
    there = await kept.search(ANN, "What does setting 7 do?", conversation_id=conversation, limit=5)
    assert {found.turn.conversation_id for found in there} == {conversation}
    await kept.delete(ANN, conversation)
    assert dog.id not in [found.turn.id for found in await kept.search(ANN, "Bello")]


async def test_what_states_is_found_before_what_asks(any_database: Database, tmp_path: Path) -> None:
    """The same words asked, and told; then told without, and with, a fact that was learnt."""
    kept = tiers(any_database, tmp_path)
    said = {
        text: replace(asked(text), state="done", answer="")
        for text in ("Was the old harbour crane sold?", "The old harbour crane was sold.")
    }
    for turn in said.values():
        await kept.finish(ANN, turn)
    found = await kept.search(ANN, "old harbour crane sold")
    assert [one.turn.question for one in found] == list(said)[::-1]
    twice = [replace(asked("I like the harbour crane."), state="done", answer="") for _ in range(2)]
    for turn in twice:
        await kept.finish(BOB, turn)
    for turn in (*twice, *twice[::-1]):
        async with any_database.write() as connection:
            await connection.execute(delete(episodes))
            await learn(connection, Said(turn.id, "c", "bob", turn.question, START), statements(turn.question, START))
        assert next(one.turn.id for one in await kept.search(BOB, "harbour crane")) == turn.id


async def test_a_turn_is_found_as_soon_as_it_is_finished_and_by_other_replicas(
    kept: TieredConversations, any_database: Database, tmp_path: Path
) -> None:
    other = tiers(any_database, tmp_path, clock=kept.store._clock)  # pyright: ignore[reportPrivateUsage]
    for number in range(3):
        turn = answered(asked(f"The word of the day is zyzzyva{number}."))
        await kept.finish(ANN, turn)
        assert (await other.search(ANN, f"zyzzyva{number}"))[0].turn.id == turn.id
        assert (await kept.search(ANN, f"zyzzyva{number}"))[0].turn.id == turn.id


async def test_what_another_encoder_indexed_is_indexed_anew(kept: TieredConversations, any_database: Database) -> None:
    await tell(kept, 3)
    await kept.settle()
    async with any_database.write() as connection:
        await connection.execute(vectors.update().values(encoder="older"))
    await kept._index.renew()  # pyright: ignore[reportPrivateUsage]
    assert await count(any_database, select(unindexed)) == 3
    assert await kept._index.progress(beyond=2) == (0, 3)  # pyright: ignore[reportPrivateUsage]
    assert await kept.indexing() is None  # a few are indexed in no time
    assert len(await kept.search(ANN, "Question number 1?")) == 3
    assert await kept._index.progress(beyond=0) is None  # pyright: ignore[reportPrivateUsage]


class Forgetful(ProcessHot):
    """A cache that loses every second write, and sometimes gives what is old."""

    def __init__(self) -> None:
        super().__init__()
        self.old: dict[str, Block] = {}
        self.calls = 0

    async def put(self, conversation_id: str, block: Block) -> None:
        self.calls += 1
        if self.calls % 2:
            self.old.setdefault(conversation_id, block)
            await super().put(conversation_id, block)

    async def get(self, conversation_id: str) -> Block | None:
        return self.old.get(conversation_id) if self.calls % 3 == 0 else await super().get(conversation_id)


async def test_a_hot_tier_that_forgets_or_lags_changes_nothing(any_database: Database, tmp_path: Path) -> None:
    kept = tiers(any_database, tmp_path, Forgetful())
    conversation = new_id()
    told: list[Turn] = []
    for number in range(12):
        turn = asked(f"{number}?", conversation)
        await kept.begin(ANN, turn)
        assert [one.id for one in await kept.recent(ANN, conversation)] == [one.id for one in told[-5:]]
        await kept.finish(ANN, answered(turn))
        told.append(turn)


async def test_the_next_question_finds_the_last_turns_hot(any_database: Database, tmp_path: Path) -> None:
    hot = ProcessHot()
    kept = tiers(any_database, tmp_path, hot)
    conversation = new_id()
    for number in range(7):
        await kept.finish(ANN, answered(asked(f"{number}?", conversation)))
        await asyncio.sleep(0)
    told = await kept.history(ANN, conversation)
    block = await hot.get(told[0].conversation_id)
    assert block is not None
    assert list(block.turns) == told[-5:]
    kept.store.recent = None  # type: ignore[assignment]  # it is not asked
    assert list(await kept.recent(ANN, told[0].conversation_id)) == told[-5:]


KILLED = Path(__file__).with_name("moving.py")


@pytest.mark.parametrize("seed", range(int(os.environ.get("AEGIS_TEST_KILLS", "3"))))
async def test_killed_while_moving_nothing_is_lost_or_left_over(tmp_path: Path, seed: int) -> None:
    from aegis.database import open_database
    from aegis.database.migrations import upgrade
    from aegis.settings import SQLiteSettings

    async with open_database(SQLiteSettings(), tmp_path) as database:
        await upgrade(database)
        kept = tiers(database, tmp_path)
        told = {talk[0].conversation_id: talk for talk in [await tell(kept, 40) for _ in range(6)]}
    process = subprocess.Popen([sys.executable, str(KILLED), str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it has begun
    await asyncio.sleep(0.01 * seed)
    process.kill()
    process.wait()
    process.stdout.close()
    async with open_database(SQLiteSettings(), tmp_path) as database:
        kept = tiers(database, tmp_path)
        await Blobs(str(tmp_path / "blobs")).sweep(0.0)  # files that were being written, as at a start
        for conversation, turns_told in told.items():
            assert await kept.history(ANN, conversation) == turns_told
        await kept._archive.sweep(timedelta(days=-1))  # pyright: ignore[reportPrivateUsage]  # as at a start
        await kept._look()  # pyright: ignore[reportPrivateUsage]
        for conversation, turns_told in told.items():
            assert await kept.history(ANN, conversation) == turns_told
        assert await count(database, select(archives).where(archives.c.state != "kept")) == 0
        assert len(blobs(tmp_path)) == await count(database, select(archives))
