"""An abstention says what was found and what to try, and invents nothing."""

from __future__ import annotations

from agents.abstain import Abstain, abstention
from tests.agents.passages import Documents, Run


async def test_names_what_was_found() -> None:
    run = Run()
    documents = Documents({"Qdrant": "x", "Redis": "y"})
    changed = await Abstain()(documents.state("Who won?"), run.runtime)
    assert changed["abstained"]
    assert "“Qdrant”; “Redis”" in changed["answer"]
    assert run.text == changed["answer"]


def test_nothing_found() -> None:
    assert abstention({"question": "", "standalone": ""}).startswith("I found nothing")
