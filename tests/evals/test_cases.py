"""Case files are read whole or refused with their line; saved conversations become cases."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aegis.database import Database
from aegis.errors import InvalidInput, NotFound, TooLarge
from aegis.scope import Scope
from evals import cases
from evals.cases import Case, Saved, read_cases, snapshot, write_cases
from memory.conversations import Citation, Turn
from memory.conversations.store import SqlConversations

ME = Scope("ada")


def _file(folder: Path, *lines: str) -> Path:
    path = folder / "cases.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_written_cases_are_read_back(tmp_path: Path) -> None:
    written = [
        Case(id="a", question="Wie groß?", expect=(("huge", "big"), ("7",)), source="a.md"),
        Case(id="b", question="And now?\u2028Really?", abstain=True, conversation="c", saved=Saved(answer="x")),
        Case(id="c", question="Which?", saved=Saved(answer="x [1]", documents=frozenset({"d1", "d2"}))),
    ]
    write_cases(tmp_path / "cases.jsonl", written)
    assert read_cases(tmp_path / "cases.jsonl") == written


def test_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": "a", "question": "q"}\r\n\r\n')
    assert [case.id for case in read_cases(path)] == ["a"]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("not json", "line 2"),
        ('{"id": "b"}', "question"),
        ('{"id": "b", "question": ""}', "question"),
        ('{"id": "b", "question": "q", "expects": []}', "expects"),
        ('{"id": "b", "question": "q", "expect": [[]]}', "expect"),
        ('{"id": "b", "question": "q", "expect": "word"}', "expect"),
        ('["b", "q"]', "line 2"),
        ('{"id": "a", "question": "again"}', "twice"),
    ],
)
def test_a_wrong_line_is_refused_by_its_place(tmp_path: Path, line: str, word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        read_cases(_file(tmp_path, '{"id": "a", "question": "q"}', line))


def test_files_that_are_missing_empty_or_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_cases(tmp_path / "none.jsonl")
    with pytest.raises(InvalidInput, match="no cases"):
        read_cases(_file(tmp_path, "", " "))
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InvalidInput, match="UTF-8"):
        read_cases(tmp_path / "binary.jsonl")
    with pytest.raises(InvalidInput):
        read_cases(tmp_path)


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, *(json.dumps({"id": str(n), "question": "q"}) for n in range(4)))
    monkeypatch.setattr(cases, "MAX_CASES", 3)
    with pytest.raises(TooLarge, match="4 cases"):
        read_cases(path)
    monkeypatch.setattr(cases, "MAX_FILE_BYTES", 10)
    with pytest.raises(TooLarge, match="bytes"):
        read_cases(path)


async def _talk(store: SqlConversations, scope: Scope, conversation: str, questions: int) -> None:
    citation = Citation(1, "doc", "v", "chunk", "a.md", "A", 0, 3, "abc", 1.0)
    for number in range(questions):
        turn = Turn(f"{conversation}-{number}", conversation, f"Question {number}?")
        await store.begin(scope, turn)
        done = Turn(turn.id, conversation, turn.question, state="done", answer="abc [1]", citations=(citation,))
        await store.finish(scope, done)


async def test_a_snapshot_takes_finished_turns_of_whole_conversations_of_one_user(database: Database) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def clock() -> datetime:
        nonlocal now
        now += timedelta(seconds=1)
        return now

    store = SqlConversations(database, clock)
    await _talk(store, ME, "old", 3)
    await _talk(store, ME, "new", 2)
    await _talk(store, Scope("eve"), "hers", 2)
    await store.begin(ME, Turn("left", "new", "Interrupted?"))

    found = await snapshot(store, ME)
    assert [case.id for case in found] == ["new-0", "new-1", "old-0", "old-1", "old-2"]
    assert found[0].saved == Saved(answer="abc [1]", documents=frozenset({"doc"}))
    assert [case.id for case in await snapshot(store, ME, limit=4)] == ["new-0", "new-1"]
    with pytest.raises(InvalidInput, match="limit"):
        await snapshot(store, ME, limit=0)


async def test_a_snapshot_reads_on_over_pages(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "PAGE", 2)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    store = SqlConversations(database, lambda: moment)
    for number in range(5):
        await _talk(store, ME, f"c{number}", 1)
    assert {case.conversation for case in await snapshot(store, ME)} == {f"c{number}" for number in range(5)}
