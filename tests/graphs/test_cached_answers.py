"""Random interleavings of ingest, edit, delete and ask by several users: cached answers are what fresh runs would give.

Conversations are deleted, too; what was answered in one that is gone is not served.

The catalogue and its search are small and in memory, so that thousands of steps take seconds; the graph, its nodes,
the cache and the extractive writer are the real ones. AEGIS_TEST_INTERLEAVINGS says how many (1,000 by hand).
"""

from __future__ import annotations

import asyncio
import math
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from aegis.scope import Scope, Span, derived_id
from agents.abstain import Abstain
from agents.cache import FromCache, KeepAnswer, Lookup
from agents.condense import Condense
from agents.converse import Converse
from agents.generate import Generate
from agents.ground import Ground, Meanings
from agents.recall import Recall, Recount
from agents.remember import Remember
from agents.retrieve import Retrieve
from agents.rewrite import Rewrite
from agents.route import Router
from agents.state import Context, State
from agents.verify import Verify
from graphs.rag import Nodes, build
from graphs.wiring import searched_again
from inference.extractive import ExtractiveWriter
from inference.words import content_words
from memory.cache.answer_cache import AnswerCache
from memory.cache.process import ProcessAnswers
from memory.cache.questions import ExactQuestions
from retrieval.chunk import Chunk
from retrieval.embedding.wordllama import WordLlamaEmbedder, load_wordllama
from retrieval.interaction import MaxSim
from retrieval.search import Hit, SearchRequest
from retrieval.tables import NEVER

INTERLEAVINGS = int(os.environ.get("AEGIS_TEST_INTERLEAVINGS", "20"))
STEPS = 20

USERS = {"ann": ("shared", "ann"), "bob": ("shared", "bob"), "eve": ("shared",)}
THINGS = ("boiler", "printer", "lift", "gate")
QUESTIONS = (
    "Who maintains the {}?", "By whom is the {} maintained?", "Who is the maintainer of the {}?",
    "How often is the {} inspected?", "How frequently is the {} inspected?", "Where does the {} stand?",
    "Who does not maintain the {}?", "When was the {} bought?", "In what year was the {} bought?",
)  # fmt: skip
TEXTS = (
    "The {thing} is maintained by {name}. It stands in hall {number}.",
    "The {thing} was bought in {year} by {name}. It is inspected every {number} weeks.",
    "{name} is the maintainer of the {thing} in hall {number}. The {thing} is inspected every {number} months.",
    "In {year} the {thing} was moved to the cellar. {name} ordered it.",
)  # fmt: skip
NAMES = ("Anna Berg", "Jon Dahl", "Mia Holm", "Leo Lund")


class Library:
    """Catalogue and search over a few documents of one chunk each, with epochs."""

    def __init__(self) -> None:
        self.now = 0
        self.all: dict[str, Chunk] = {}
        self.current: dict[str, str] = {}  # document -> chunk

    def put(self, document: str, collection: str, text: str) -> list[str]:
        """Publishes; the versions that went."""
        gone = self._hide(document)
        version = derived_id("version", document, self.now)
        chunk = Chunk(
            derived_id("chunk", version), document, version, collection, f"file:///{document}", document, 0,
            Span(0, len(text)), text, None, None, self.now, NEVER,
        )  # fmt: skip
        self.all[chunk.id] = chunk
        self.current[document] = chunk.id
        return gone

    def delete(self, document: str) -> list[str]:
        return self._hide(document)

    def _hide(self, document: str) -> list[str]:
        self.now += 1
        old = self.all.get(self.current.pop(document, ""))
        if old is None:
            return []
        self.all[old.id] = replace(old, visible_until=self.now)
        return [old.version_id]

    async def search(self, scope: Scope, request: SearchRequest) -> list[Hit]:
        at = self.now if request.known_at is None else request.known_at
        seen = [
            chunk for chunk in self.all.values()
            if chunk.visible_from <= at < chunk.visible_until and scope.may_read(chunk.collection)
        ]  # fmt: skip
        words = {chunk.id: Counter(content_words(chunk.text)) for chunk in seen}
        held = Counter(word for counted in words.values() for word in counted)
        asked = content_words(request.query)
        rare = {word: math.log(1 + len(seen) / (1 + held[word])) for word in asked}
        scores = {id: sum(rare[word] for word in asked if word in counted) for id, counted in words.items()}
        best = max(scores.values(), default=0.0) or 1.0
        hits = [Hit(self.all[id], score / best) for id, score in scores.items() if score > 0]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk.id))[: min(4, request.top_k)]

    async def chunks(self, scope: Scope, ids: Sequence[str]) -> list[Chunk]:
        return [self.all[id] for id in ids if id in self.all and scope.may_read(self.all[id].collection)]

    async def epoch(self) -> int:
        return self.now

    async def newest(self, version_ids: Sequence[str]) -> datetime | None:
        return datetime(2020, 1, 1, tzinfo=UTC)


class Talks:
    """Which turns there are, by their conversation; what was said in them is nobody's matter here."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}  # turn -> conversation

    def delete(self, conversation_id: str) -> None:
        self.of = {turn: talk for turn, talk in self.of.items() if talk != conversation_id}

    async def holds(self, scope: Scope, turn_id: str) -> bool:
        return turn_id in self.of

    async def history(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def recent(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def mentioning(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def finish(self, scope: Scope, turn: Any) -> None:
        return None


@dataclass
class World:
    embedder: WordLlamaEmbedder
    recheck: bool = True
    library: Library = field(default_factory=Library)
    talks: Talks = field(default_factory=Talks)
    answers: AnswerCache = field(
        default_factory=lambda: AnswerCache(ProcessAnswers(5), ProcessAnswers(50), ExactQuestions(50))
    )

    def __post_init__(self) -> None:
        library, embed, talks = self.library, self.embedder.embed, self.talks
        meanings = Meanings(embed, MaxSim(self.embedder.word_vectors).nearest)
        searching: dict[str, Any] = {
            "route": Router(),
            "retrieve": Retrieve(library),
            "consult_graph": Retrieve(library),
            "ground": Ground(library, meanings),
            "rewrite": Rewrite(),
            "generate": Generate(library, ExtractiveWriter(embed)),
            "verify": Verify(library),
        }
        lookup = Lookup(lambda: ExtractiveWriter.name)
        vectors = self.embedder.word_vectors
        again, written = searched_again(searching, 1), searched_again(searching, 1, write=True)
        nodes: dict[str, Any] = searching | {
            "condense": Condense(talks, library.epoch, 3),
            "recall": Recall(talks),
            "abstain": Abstain(),
            "converse": Converse(),
            "inventory": Abstain(),
            "recount": Recount(),
            "dispute": Abstain(),
            "remember": Remember(talks),
        }

        async def everything(context: Context) -> Scope:
            return Scope(context.user)

        async def nothing(state: State, runtime: Any) -> dict[str, Any]:
            return {}

        cache = FromCache(self.answers, library, talks, meanings, lookup, again, vectors, written, recheck=self.recheck)
        keep = KeepAnswer(self.answers, library, embed, lookup, lambda: datetime.now(UTC))
        self.cached: Any = build(Nodes(**nodes, cache=cache, keep=keep), everything).compile()
        self.fresh: Any = build(Nodes(**nodes, cache=nothing, keep=nothing), everything).compile()

    async def ask(self, user: str, question: str) -> bool:
        """Whether the answer came from the cache; fails where a fresh run would use other sources, and where the turn
        that it was given in is deleted."""
        number = len(self.talks.of)
        turn, talk = f"turn{derived_id('turn', user, question, self.library.now, number)}", f"{user}{number % 3}"
        self.talks.of[turn] = talk
        context = Context(user=user, collections=USERS[user], conversation_id=talk, turn_id=turn)
        answer = await self.cached.ainvoke({"question": question}, context=context)
        self.answers.release(turn, "none")
        if not answer.get("cached"):
            return False
        assert answer["cached"]["turn_id"] in self.talks.of, f"{user}: {question} was answered in a deleted turn"
        anew = await self.fresh.ainvoke({"question": question}, context=replace(context, turn_id=""))
        told = f"{user}: {question} | {answer['cached']} | {answer['answer']!r} | {anew['answer']!r}"
        assert _cited(answer) == _cited(anew), told
        if not answer["cached"]["near"]:
            assert answer["answer"] == anew["answer"], told
            assert _found(answer) == _found(anew), told
        return True


def _cited(state: Any) -> set[str]:
    return {citation["chunk_id"] for citation in state.get("citations", ())}


def _found(state: Any) -> set[str]:
    return {hit["chunk_id"] for hit in state.get("found", ())}


async def interleaved(world: World, seed: int) -> int:
    """One interleaving; how many answers came from the cache."""
    chance = random.Random(seed)
    served = 0
    for _ in range(3):
        _publish(world, chance)
    recent: list[tuple[str, str]] = []
    for _ in range(STEPS):
        what = chance.random()
        if what < 0.3:
            gone = _publish(world, chance)
        elif what < 0.42 and world.talks.of:
            gone = [chance.choice(sorted(world.talks.of.values()))]
            world.talks.delete(gone[0])
        elif what < 0.5 and world.library.current:
            gone = world.library.delete(chance.choice(sorted(world.library.current)))
        else:
            again = recent and chance.random() < 0.6
            question = chance.choice(QUESTIONS).format(chance.choice(THINGS))
            asked = chance.choice(recent) if again else (chance.choice(sorted(USERS)), question)
            recent.append(asked)
            served += await world.ask(*asked)
            continue
        if world.recheck and chance.random() < 0.5:  # a replica that is not told finds out by comparing
            await world.answers.evict(gone)
    return served


def _publish(world: World, chance: random.Random) -> list[str]:
    text = chance.choice(TEXTS).format(
        thing=chance.choice(THINGS),
        name=chance.choice(NAMES),
        number=chance.randint(2, 9),
        year=chance.randint(1990, 2020),
    )
    document = f"doc{chance.randint(0, 6)}"
    collection = chance.choice(("shared", "shared", "ann", "bob"))
    return world.library.put(f"{document}-{collection}", collection, text)


@pytest.fixture(scope="module")
def embedder() -> WordLlamaEmbedder:
    return load_wordllama()


async def test_a_cached_answer_is_what_a_fresh_run_would_give(embedder: WordLlamaEmbedder) -> None:
    served = [await interleaved(World(embedder), seed) for seed in range(INTERLEAVINGS)]
    assert sum(served) >= len(served) / 2, "the cache has to be used for this to say anything"


async def test_it_fails_without_the_comparison(embedder: WordLlamaEmbedder) -> None:
    async def many() -> None:
        for seed in range(200):
            await interleaved(World(embedder, recheck=False), seed)

    with pytest.raises(AssertionError, match=r"boiler|printer|lift|gate"):
        await many()


async def test_fifty_who_ask_the_same_at_once_cost_one_answer(embedder: WordLlamaEmbedder) -> None:
    world = World(embedder)
    world.library.put("a", "ann", "The boiler is maintained by Anna Berg. It stands in hall 3.")

    async def ask(number: int) -> Any:
        world.talks.of[f"turn{number}"] = "talk"
        context = Context(user="ann", collections=USERS["ann"], turn_id=f"turn{number}")
        return await world.cached.ainvoke({"question": "Who maintains the boiler?"}, context=context)

    answers = await asyncio.wait_for(asyncio.gather(*map(ask, range(50))), 60)
    assert sum(not answer.get("cached") for answer in answers) == 1
    assert {answer["answer"] for answer in answers} == {answers[0]["answer"]}


async def test_nobody_is_served_what_another_sees(embedder: WordLlamaEmbedder) -> None:
    world = World(embedder)
    world.library.put("a", "ann", "The boiler is maintained by Anna Berg. It stands in hall 3.")
    assert not await world.ask("ann", "Who maintains the boiler?")
    assert await world.ask("ann", "Who maintains the boiler?")
    assert not await world.ask("bob", "Who maintains the boiler?")
    assert not await world.ask("eve", "Who maintains the boiler?")
