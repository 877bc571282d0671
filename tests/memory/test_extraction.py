"""Entities and facts found by rules."""

from __future__ import annotations

import pickle
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.scope import Span
from memory.extraction import MAX_ENTITIES, MAX_FACTS, Extract, RuleExtractor
from memory.naming import home_keys, key
from retrieval.loaders.document import LoadedDocument
from retrieval.splitting import Piece


def extract(text: str, title: str = "Notes", headings: tuple[tuple[int, int, str], ...] = ()) -> Extract:
    document = LoadedDocument(text, title, "text/plain", headings=headings)
    (found,) = RuleExtractor().extract(document, [Piece(Span(0, len(text)), text, None, None)])
    for fact in found.facts:
        assert text[fact.start : fact.end] == fact.quote
        assert {fact.source, fact.target} <= {entity.key for entity in found.entities}
    return found


def triples(text: str, title: str = "Notes") -> list[tuple[str, str, str]]:
    return [(fact.source, fact.relation, fact.target) for fact in extract(text, title).facts]


def names(text: str, title: str = "Notes") -> set[str]:
    return {entity.name for entity in extract(text, title).entities}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Neo4j is a graph database written in Java.", ("neo4j", "IS_A", "graph database")),
        ("Lisbon was the capital of a large empire.", ("lisbon", "IS_A", "capital")),
        ("The Alfama is part of Lisbon, they say.", ("alfama", "PART_OF", "lisbon")),
        ("Our AegisRAG uses Qdrant Edge for search.", ("aegisrag", "USES", "qdrant edge")),
        ("The vector store depends on Qdrant Edge.", ("vector store", "DEPENDS_ON", "qdrant edge")),
        ("Orion Labs was founded by Anna Berg in 1998.", ("orion labs", "FOUNDED_BY", "anna berg")),
        ("Orion Labs was founded in 1998 by Anna Berg.", ("orion labs", "FOUNDED_BY", "anna berg")),
        ("Orion Labs is located in the Swiss Alps.", ("orion labs", "LOCATED_IN", "swiss alps")),
        ("AegisRAG stores its data in SQLite.", ("aegisrag", "STORED_IN", "sqlite")),
        ("AegisRAG runs on Linux and others.", ("aegisrag", "RUNS_ON", "linux")),
        ("The Long Road was directed by Maria Östergård.", ("long road", "DIRECTED_BY", "maria ostergard")),
        ("`read_rows` calls `open_file` for each page.", ("read_rows", "CONNECTS_TO", "open_file")),
        ("Anna Berg met Tom Hill at the lake.", ("anna berg", "RELATES_TO", "tom hill")),
        ("In the evening Anna Berg sang loudly.", ("notes", "MENTIONED_WITH", "anna berg")),
    ],
)
def test_relations(text: str, expected: tuple[str, str, str]) -> None:
    assert expected in triples(text)


@pytest.mark.parametrize(
    "text",
    [
        "Does Orion Labs use Blue Glass?",
        "```\nOrion Labs uses Blue Glass.\n```",
        "    Orion Labs uses Blue Glass.",
        "# Orion Labs uses Blue Glass here",
        "| Orion Labs | uses | Blue Glass |",
        "x = OrionLabs(BlueGlass); y = {Red: [Stone]}; return z",
        "Orion Labs",
        "nobody is named in this sentence at all.",
        "",
    ],
)
def test_no_fact(text: str) -> None:
    assert triples(text) == []


def test_headings_make_no_facts() -> None:
    text = "Orion Labs uses Blue Glass\nRed Stone depends on Grey Sand."
    found = extract(text, headings=((0, 1, "Orion Labs uses Blue Glass"),))
    assert [fact.text for fact in found.facts] == ["Red Stone depends on Grey Sand."]


def test_a_negation_states_no_relation() -> None:
    assert triples("Orion Labs does not use Blue Glass.") == [("orion labs", "RELATES_TO", "blue glass")]


def test_acronym_stands_for_its_long_form() -> None:
    found = extract("Personalized PageRank (PPR) ranks pages. We know that PPR uses Power Iteration.")
    (entity,) = [entity for entity in found.entities if "ppr" in entity.aliases]
    assert entity.name == "Personalized PageRank"
    assert ("personalized pagerank", "USES", "power iteration") in [
        (fact.source, fact.relation, fact.target) for fact in found.facts
    ]


def test_entities_of_many_kinds() -> None:
    found = names(
        "St. Maurice's Abbey was visited by J. R. Smith on 12 March 2020. Call `open_store()` with AEGIS_HOST. "
        "They met Ludwig van Beethoven in Köln."
    )
    assert {"St. Maurice's Abbey", "J. R. Smith", "12 March 2020", "open_store()", "AEGIS_HOST"} <= found
    assert {"Ludwig van Beethoven", "Köln"} <= found


def test_first_word_of_a_sentence_is_a_name_only_if_known_as_one() -> None:
    assert "Extraction" not in names("Extraction works well with Orion Labs.")
    assert "Berlin" in names("Berlin is large. People like Berlin.")


@pytest.mark.parametrize(
    "text",
    [
        "東京は日本の首都です。大阪も大きい。",
        "Привет, мир. Иван живёт в Москве.",
        "مرحبا بالعالم",
        "สวัสดีชาวโลก",
        "🙂 ok 🙂",
    ],
)
def test_other_languages(text: str) -> None:
    extract(text, title="東京")


def test_bounds() -> None:
    found = extract(" ".join(f"Orion Labs uses Glass Number{number}." for number in range(200)))
    assert len(found.facts) <= MAX_FACTS
    assert len(found.entities) <= MAX_ENTITIES


def test_homes() -> None:
    text = "one\n\ntwo\n\nthree"
    document = LoadedDocument(text, "Theodred II (Bishop of Elmham)", "text/plain")
    pieces = [
        Piece(Span(0, 3), "one", None, "Intro"),
        Piece(Span(5, 8), "two", None, "Intro"),
        Piece(Span(10, 15), "three", None, "Intro > Vector Store, new"),
    ]
    homes = [found.homes for found in RuleExtractor().extract(document, pieces)]
    assert homes == [
        ("theodred ii bishop of elmham", "theodred ii", "intro"),
        (),
        ("vector store new", "vector store"),
    ]


def test_keys() -> None:
    assert key("St. Maurice’s  Abbey") == key("st maurice abbey")
    assert home_keys("Lambert, Margrave of Tuscany") == ("lambert margrave of tuscany", "lambert")
    assert home_keys("") == ()


def test_picklable() -> None:
    found = extract("Orion Labs uses Blue Glass.")
    assert pickle.loads(pickle.dumps(found)) == found
    assert pickle.loads(pickle.dumps(RuleExtractor())) == RuleExtractor()


@settings(max_examples=150, deadline=2000)
@given(st.text(alphabet=st.sampled_from("AbÉé 東.\n?!`(),'-_|#*1　ß\u0300\u2019ofthe"), max_size=400))
def test_any_text(text: str) -> None:
    extract(text, title=text[:30])


@pytest.mark.parametrize(
    "text", ["A " * 20_000, "a" * 50_000, "(" * 20_000, "The " + "a b " * 10_000, "A-" * 20_000, "A. " * 9000]
)
def test_hostile_text_is_quick(text: str) -> None:
    started = time.perf_counter()
    extract(text)
    assert time.perf_counter() - started < 3
