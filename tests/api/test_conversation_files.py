"""Search, export and import of conversations through the API."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

from aegis.database import Database, open_database
from aegis.database.migrations import upgrade
from aegis.scope import LOCAL_USER, Scope, new_id
from aegis.settings import SQLiteSettings
from api.schemas.conversations import FoundTurnsAnswer, TakenInAnswer
from memory.conversations.tiers import TieredConversations
from tests.api.conftest import Open
from tests.memory.conversations.talks import BOB, answered, asked, tell, tiers

PATH = "/api/v1/conversations"
ME = Scope(LOCAL_USER)


@pytest.fixture
def kept(database: Database, tmp_path: Path) -> TieredConversations:
    return tiers(database, tmp_path)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncGenerator[Database]:
    async with open_database(SQLiteSettings(), _made(tmp_path / "other")) as opened:
        await upgrade(opened)
        yield opened


async def exported(client: httpx.AsyncClient, place: str = "/export", form: str = "jsonl") -> str:
    answer = await client.get(PATH + place, params={"format": form})
    assert answer.status_code == 200, answer.text
    assert "attachment" in answer.headers["content-disposition"]
    return answer.text


async def test_an_export_taken_in_elsewhere_is_the_same_and_once_only(
    client_of: Open, kept: TieredConversations, tmp_path: Path, elsewhere: Database
) -> None:
    told = await tell(kept, 40, ME)
    await tell(kept, 2, BOB)
    await kept.settle()
    there = await exported(await client_of(conversations=kept))
    assert "bob" not in there
    other = tiers(elsewhere, tmp_path / "other")
    client = await client_of(conversations=other)
    for added, known in ((40, 0), (0, 40)):
        answer = await client.post(f"{PATH}/import", content=there)
        taken = TakenInAnswer.model_validate_json(answer.content)
        assert (taken.conversations, taken.turns, taken.known) == (1, added, known)
    assert await other.history(ME, told[0].conversation_id) == told
    assert await other.get(ME, told[0].conversation_id) == await kept.get(ME, told[0].conversation_id)
    assert (await exported(client)).splitlines() == there.splitlines()
    assert (await other.search(ME, "Question number 3?"))[0].turn.id == told[3].id


async def test_what_another_user_exported_is_taken_in_under_ids_of_its_own(
    client_of: Open, kept: TieredConversations
) -> None:
    told = await tell(kept, 3, ME)
    client = await client_of(conversations=kept)
    theirs = await exported(client)
    moved = await tell(kept, 1, BOB)
    theirs = theirs.replace(told[0].conversation_id, moved[0].conversation_id)
    theirs = theirs.replace(told[0].id, new_id()).replace(told[1].id, new_id()).replace(told[2].id, new_id())
    for added in (3, 0):
        assert (await client.post(f"{PATH}/import", content=theirs)).json()["turns"] == added
    assert len(await kept.history(BOB, moved[0].conversation_id)) == 1
    assert len(await kept.list(ME)) == 2


async def test_markdown_is_for_reading(client_of: Open, kept: TieredConversations) -> None:
    turn = answered(asked("What *is*\nQdrant?"))
    await kept.finish(ME, turn)
    text = await exported(await client_of(conversations=kept), f"/{turn.conversation_id}/export", "markdown")
    assert "## What *is* Qdrant?" in text
    assert "A vector database [1]." in text
    assert "- [1] A: “vector”" in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "no conversation"),
        ("{", "Line 1 is no JSON"),
        ("[]", "Line 1 is no JSON object"),
        ('{"turn": {}}', "Line 1 is no turn"),
        ('{"format": 2, "conversation": {}}', "format 2"),
        ('{"format": 1, "conversation": {"id": "x"}}', "Line 1: id"),
        ("HEAD\n" + json.dumps({"turn": {"id": "x", "question": "y"}}), "Line 2: 'x' is no turn id"),
        (
            "HEAD\n" + json.dumps({"turn": {"id": "00000000-0000-7000-8000-000000000001", "question": 7}}),
            "Line 2: question",
        ),
        ("HEAD\n" + json.dumps({"turn": [1]}), "Line 2: id"),
        (
            "HEAD\n"
            + json.dumps({"turn": {"id": "00000000-0000-7000-8000-000000000001", "question": "y" * 1_000_001}}),
            "more than a turn can",
        ),
    ],
)
async def test_a_file_that_cannot_be_taken_in_is_told_by_its_line(
    client_of: Open, kept: TieredConversations, line: str, message: str
) -> None:
    at = "2026-01-01T00:00:00Z"
    head = json.dumps({"format": 1, "conversation": {"id": new_id(), "title": "t", "created_at": at, "updated_at": at}})
    client = await client_of(conversations=kept)
    answer = await client.post(f"{PATH}/import", content=line.replace("HEAD", head))
    assert answer.status_code == 422, answer.text
    assert message in answer.json()["error"]["message"]
    assert await kept.list(ME) == []


async def test_search_through_the_api(client_of: Open, kept: TieredConversations) -> None:
    turn = answered(asked("My dog is called Bello."), "Noted.")
    await kept.finish(ME, turn)
    await tell(kept, 2, BOB)
    client = await client_of(conversations=kept)
    answer = await client.get(f"{PATH}/search", params={"query": "bello"})
    found = FoundTurnsAnswer.model_validate_json(answer.content)
    assert [(hit.turn_id, hit.title) for hit in found.hits] == [(turn.id, "My dog is called Bello.")]
    assert (await client.get(f"{PATH}/search", params={"query": ""})).status_code == 422
