"""A sentence states a fact, or does not, and the reason is said."""

from __future__ import annotations

import pytest

from memory.reading.entailment import Claim, judged


def claim(subject: str, relation: str, object_: str, text: str) -> Claim:
    return Claim([subject], relation, [object_], text)


OFFICE = claim("Orion Labs", "OPENED_OFFICE_IN", "Lisbon", "Orion Labs opened an office in Lisbon")
BUYS = claim("Acme", "ACQUIRED", "Beta Works", "Acme acquired Beta Works in 2019.")
USES = claim("Qdrant", "USES", "RocksDB", "Qdrant uses RocksDB.")
WORKS = claim("Anna Berg", "WORKS_FOR", "Acme", "Anna Berg works at Acme.")


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (OFFICE, "Anna told Bert that Orion Labs opened an office in Lisbon."),
        (OFFICE, "It rained. In 2020 Orion Labs opened its second office, which is in Lisbon. Nobody came."),
        (BUYS, "In 2019 Acme acquired Beta Works for 3 million."),
        (BUYS, "Beta Works was acquired by Acme in 2019."),
        (claim("Alice", "MANAGES", "Bob", "Alice manages Bob."), "Alice, unlike Carol, manages Bob."),
        (
            claim("Berlin", "CAPITAL_OF", "Germany", "Berlin is the capital of Germany."),
            "Berlin, the capital of Germany, grew.",
        ),
        (WORKS, "Anna Berg works at Acme and lives in Bern."),
        (USES, "Qdrant uses RocksDB, but it does not use SQLite."),
        (USES, "If you ask why it is fast: Qdrant uses RocksDB."),
        (claim("Ada", "RELATES_TO", "Bern", "Ada was born in Bern."), "Ada was born in Bern in a cold winter."),
        (
            claim("Qdrant", "DOES_NOT_USE", "SQLite", "Qdrant does not use SQLite."),
            "Qdrant does not use SQLite at all.",
        ),
        (claim("Orion", "COSTS", "euros", "Orion costs 1,200 euros."), "Orion costs 1200 euros a month."),
    ],
)
def test_stated(one: Claim, text: str) -> None:
    found = judged(one, text)
    assert found.reason == ""
    assert text[found.start : found.end] == found.quote


@pytest.mark.parametrize(
    ("one", "text", "says"),
    [
        (OFFICE, "Orion Labs opened an office.", "does not name the object"),
        (OFFICE, "The company opened an office in Lisbon.", "does not name the subject"),
        (OFFICE, "Orion Labs closed a factory in Lisbon.", "does not state the relation"),
        (OFFICE, "Orion Labs never opened an office in Lisbon.", "denies"),
        (OFFICE, "Orion Labs might have opened an office in Lisbon.", "supposes"),
        (OFFICE, "Has Orion Labs opened an office in Lisbon?", "states nothing"),
        (OFFICE, "", "no sentence"),
        (OFFICE, "# Orion Labs opened an office in Lisbon", "no sentence"),
        (BUYS, "In 2018 Acme acquired Beta Works.", "number 2019"),
        (BUYS, "In 2019 Beta Works acquired Acme.", "other way round"),
        (BUYS, "It is not true that Acme acquired Beta Works in 2019.", "denies"),
        (BUYS, "In 2019 Acme was acquired by Beta Works.", "other way round"),
        (BUYS, "In 2019 Acme tried to acquire Beta Works.", "tried"),
        (OFFICE, "Orion Labs failed to open an office in Lisbon.", "tried"),
        (
            claim("Alice", "MANAGES", "Carol", "Alice manages Carol."),
            "Alice manages Bob, and Dave manages Carol.",
            "of another",
        ),
        (USES, "Qdrant replaced RocksDB years ago.", "does not state the relation"),
        (USES, "Qdrant no longer uses RocksDB.", "denies"),
        (
            claim("Qdrant", "DOES_NOT_USE", "RocksDB", "Qdrant does not use RocksDB."),
            "Qdrant uses RocksDB daily.",
            "den",
        ),
        (
            claim("Orion Labs", "OPENED", "office", "Orion Labs opened a bankrupt zeppelin factory and an office."),
            "Orion Labs opened an office.",
            "does not say",
        ),
    ],
)
def test_not_stated(one: Claim, text: str, says: str) -> None:
    assert says in judged(one, text).reason


def test_another_name_of_the_same_is_a_name() -> None:
    one = Claim(
        ["European Central Bank", "ecb"], "LOCATED_IN", ["Frankfurt"], "The European Central Bank is in Frankfurt."
    )
    assert judged(one, "The ECB is based in Frankfurt since 1998.").reason == ""
