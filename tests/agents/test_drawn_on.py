"""Documents that an answer was made from, as they are kept beside its turn."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from aegis.scope import Scope
from agents.evidence import NAMED, PASSAGES, drawn_on
from agents.generate import Generate
from agents.inventory import Inventory
from agents.prompts import PROMPT_VERSION
from agents.remember import turn_of
from agents.route import Router
from agents.rows import RowCounter
from agents.state import Context, Found, State
from memory.conversations import told
from retrieval.catalogue import DocumentEntry
from tests.agents.passages import Documents, Run
from tests.agents.test_generate import Scripted

AT = datetime(2026, 1, 2, tzinfo=UTC)
STAFF = "name: Ada | team: Blue\nname: Bob | team: Red"


class Catalogue:
    """Two documents, of which one is a table."""

    async def list_documents(self, scope: Any, *, after: str = "", limit: int = 100, epoch: Any = None) -> Any:
        made = [
            DocumentEntry(f"d-{name}", "default", f"upload:{name}", name, media, "v", "h", 40, 1, {}, (), None, AT)
            for name, media in (("plan.md", "text/markdown"), ("staff.csv", "text/csv"))
        ]
        return made if not after else []

    async def totals(self, scope: Any, epoch: Any = None) -> dict[str, int]:
        return {"documents": 2, "chunks": 2}

    async def text(self, scope: Any, document_id: str, version_id: str | None = None) -> str:
        return STAFF


def hits(count: int) -> list[Found]:
    return [Found(chunk_id=f"c{n}", document_id=f"d{n}", title=f"T{n // 4}", score=1, via=[]) for n in range(count)]


def test_passages_that_were_read_facts_and_citations() -> None:
    state: State = {"question": "q", "standalone": "q", "found": hits(40)}
    assert drawn_on(state) == tuple(f"d{n}" for n in range(PASSAGES))
    state["facts"] = [{"fact_id": "f", "text": "", "chunk_id": "c", "score": 1, "documents": ["df", "d1"]}]
    state["citations"] = [{"document_id": "dc"}]
    assert drawn_on(state)[PASSAGES:] == ("df", "dc")


def test_an_abstention_names_titles() -> None:
    state: State = {"question": "q", "standalone": "q", "found": hits(40), "abstained": True}
    assert drawn_on(state) == tuple(f"d{n}" for n in range(4 * NAMED))


async def test_documents_that_are_listed_or_counted_in() -> None:
    run = Run()
    asked: State = {"question": "List all documents", "standalone": "List all documents"}
    listed = await Inventory(Catalogue(), None, lambda: AT)(asked, run.runtime)  # type: ignore[arg-type]
    assert drawn_on({**asked, **listed}) == ("d-plan.md", "d-staff.csv")  # type: ignore[typeddict-item]
    asked = {"question": "How many documents are there?", "standalone": "How many documents are there?"}
    counted = await Inventory(Catalogue(), None, lambda: AT)(asked, run.runtime)  # type: ignore[arg-type]
    assert drawn_on({**asked, **counted}) == ()  # type: ignore[typeddict-item]
    question = "Which rows of staff have the team Blue?"
    routed = await Router(RowCounter(Catalogue()))({"question": question, "standalone": question}, run.runtime)
    assert "Ada" in routed["counted"]["text"]
    assert routed["named"] == ["d-staff.csv"]


def test_conversations_that_are_repeated() -> None:
    recalled: Any = [{"turn_id": "t", "conversation_id": "other", "question": "", "answer": "", "when": ""}] * 2
    state: State = {"question": "q", "standalone": "q", "recalled": recalled}
    assert turn_of(Context(conversation_id="c", turn_id="t"), state).retold == ("other",)


def test_a_turn_says_which_prompts_wrote_it() -> None:
    turn = turn_of(Context(conversation_id="c", turn_id="t"), {"question": "q", "standalone": "q"})
    assert turn.prompt_version == PROMPT_VERSION
    assert told(turn)["prompt_version"] == PROMPT_VERSION


async def test_passages_facts_and_what_led_to_a_passage_have_a_say_in_what_leaves() -> None:
    given = Documents({"One": "One text.", "Two": "Two text.", "Three": "Three text."})
    state = given.state("What is it?")
    state["found"] = [{**hits(2)[1], "via": ["c2"]}]
    state["facts"] = [{"fact_id": "f", "text": "", "chunk_id": "c1", "score": 1.0, "documents": ["d9"]}]
    asked: list[set[str]] = []

    async def may_leave(
        scope: Scope, conversation_id: str, collections: Any, documents: Iterable[str], *, agreed: bool = False
    ) -> bool:
        asked.append(set(documents))
        return False

    await Generate(given, Scripted(), may_leave=may_leave)(state, Run().runtime)
    assert asked == [{"d1", "d2", "d9"}]
