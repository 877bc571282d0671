"""How far a model has read, what the rest costs, and what was set apart, over HTTP and on the command line."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from aegis.cli import extraction as command
from aegis.errors import NotFound
from api.schemas.extraction import ExtractionAnswer, QuarantineAnswer
from inference import Choice
from inference.prices import Price
from memory.reading.estimate import Estimate
from memory.reading.quarantine import Quarantined
from memory.reading.queue import Counts
from memory.reading.reader import Status
from tests.api.conftest import Open

URL = "/api/v1/memory"
ESTIMATE = Estimate(120, 6, 300, 400_000, 20_000, 1.25)
STATUS = Status(True, Choice("openai", "gpt-4o-mini", Price(1, 2)), Counts(120, 0, 3, 1, 120), 2, "", ["why"], ESTIMATE)
AT = datetime(2026, 1, 1, tzinfo=UTC)


def kept(number: int) -> Quarantined:
    return Quarantined(f"q{number}", "A", "OWNS", "B", "A owns B.", "A met B.", "why", "m", AT, "c", "d", "Title")


@dataclass
class FakeReading:
    """`ModelReader` and its quarantine."""

    now: Status = STATUS
    agreed: int = 0
    rows: list[Quarantined] = field(default_factory=lambda: [kept(number) for number in range(3)])

    @property
    def quarantine(self) -> FakeReading:
        return self

    async def page(
        self, scope: Any, *, after: str = "", limit: int = 100, document: str | None = None
    ) -> list[Quarantined]:
        return [row for row in self.rows if row.id > after and document in (None, row.document_id)][:limit]

    async def release(self, scope: Any, identifier: str) -> str:
        await self.discard(scope, identifier)
        return f"fact of {identifier}"

    async def discard(self, scope: Any, identifier: str) -> None:
        kept_on = [row for row in self.rows if row.id != identifier]
        if len(kept_on) == len(self.rows):
            raise NotFound(f"Nothing is held back as {identifier}.")
        self.rows = kept_on

    async def status(self, scope: Any) -> Status:
        return self.now

    async def agree(self, scope: Any) -> int:
        self.agreed += 1
        self.now = replace(self.now, estimate=None)
        return 120


async def test_the_estimate_is_told_until_somebody_agrees(client_of: Open) -> None:
    reading = FakeReading()
    client = await client_of(reading=reading)
    answer = (await client.get(f"{URL}/extraction")).json()
    assert ExtractionAnswer.model_validate(answer).model_dump(mode="json") == answer
    assert answer["estimate"]["cost"] == 1.25
    assert (answer["provider"], answer["model"], answer["paid"]) == ("openai", "gpt-4o-mini", True)
    assert (await client.get(f"{URL}/extraction")).json() == answer
    assert reading.agreed == 0
    answer = (await client.post(f"{URL}/extraction")).json()
    assert answer["estimate"] is None
    assert reading.agreed == 1


async def test_a_model_of_this_machine_is_not_paid(client_of: Open) -> None:
    free = replace(STATUS, choice=Choice("ollama", "gemma3:4b", None), estimate=None)
    answer = (await (await client_of(reading=FakeReading(free))).get(f"{URL}/extraction")).json()
    assert (answer["paid"], answer["estimate"]) == (False, None)
    answer = (await (await client_of(reading=FakeReading(replace(free, choice=None)))).get(f"{URL}/extraction")).json()
    assert answer["model"] is None


async def test_what_was_set_apart_is_listed_in_pages(client_of: Open) -> None:
    client = await client_of(reading=FakeReading())
    first = (await client.get(f"{URL}/quarantine", params={"limit": 2})).json()
    assert QuarantineAnswer.model_validate(first).model_dump(mode="json") == first
    rest = (await client.get(f"{URL}/quarantine", params={"cursor": first["next"]})).json()
    assert [one["id"] for one in first["facts"] + rest["facts"]] == ["q0", "q1", "q2"]
    assert rest["next"] is None
    assert (await client.get(f"{URL}/quarantine", params={"document": "another"})).json()["facts"] == []
    assert rest["facts"][0]["reason"] == "why"


async def test_what_was_set_apart_is_released_or_discarded(client_of: Open) -> None:
    client = await client_of(reading=FakeReading())
    assert (await client.post(f"{URL}/quarantine/q1/release")).json() == {"fact_id": "fact of q1"}
    assert (await client.delete(f"{URL}/quarantine/q2")).status_code == 204
    assert [one["id"] for one in (await client.get(f"{URL}/quarantine")).json()["facts"]] == ["q0"]
    assert (await client.post(f"{URL}/quarantine/q1/release")).status_code == 404
    assert (await client.delete(f"{URL}/quarantine/q1")).status_code == 404


async def told(client_of: Open) -> dict[str, Any]:
    return (await (await client_of(reading=FakeReading())).get(f"{URL}/extraction")).json()


async def test_on_a_terminal_the_price_is_shown_and_asked(
    client_of: Open, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = await told(client_of)
    assert command.agreed(found, yes=True, quiet=True)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    assert not command.agreed(found, yes=False, quiet=False)  # nobody is there to ask
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    for word in (True, False):
        monkeypatch.setattr("typer.confirm", _always(word))
        assert command.agreed(found, yes=False, quiet=False) is word
    shown = " ".join(capsys.readouterr().out.split())
    assert "120 passages" in shown
    assert "300 calls, 400,000 tokens read and 20,000 written, 1.25 US dollars (from a sample of 6)" in shown
    assert not command.agreed(found | {"estimate": None}, yes=True, quiet=False)


def _always(word: bool) -> Any:
    def answer(text: str, default: bool) -> bool:
        assert not default
        return word

    return answer


async def test_what_is_shown(client_of: Open) -> None:
    rows = dict(command.rows_of(await told(client_of)))
    assert rows["model"] == "gpt-4o-mini at openai, paid"
    assert rows["quarantined"] == "2"
    assert "1.25 US dollars" in rows["not agreed to"]
