"""The whole graph and its runner, with small fakes of what it searches and of who writes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from string import ascii_lowercase
from typing import Any, cast

import numpy as np
import pytest

from aegis.database import Database
from aegis.errors import (
    GraphUnavailable,
    IndexUnavailable,
    InvalidInput,
    ModelFailed,
    NotFound,
    Overloaded,
    StoreUnavailable,
    TooLarge,
    Unavailable,
)
from aegis.scope import Scope, Span, new_id
from aegis.settings import ChatSettings
from agents.abstain import Abstain
from agents.cache import FromCache, KeepAnswer, Lookup
from agents.condense import Condense
from agents.consult_graph import GRAPH_NOTE, ConsultGraph
from agents.converse import Converse
from agents.dispute import NONE_YET, Dispute
from agents.generate import Generate
from agents.ground import Ground, Meanings
from agents.inventory import Inventory
from agents.recall import Recall, Recount
from agents.remember import Remember
from agents.retrieve import INDEX_NOTE, Retrieve
from agents.rewrite import Rewrite
from agents.route import Router
from agents.state import Context
from agents.verify import Verify
from graphs.answering import Answering
from graphs.at_once import at_once
from graphs.followups import FollowUps
from graphs.progress import Progress
from graphs.rag import Nodes, build
from graphs.run import Event, Run
from graphs.wiring import searched_again
from inference import Piece, WriteRequest
from memory.cache.answer_cache import AnswerCache
from memory.cache.process import ProcessAnswers
from memory.cache.questions import ExactQuestions
from memory.conversations import Turn
from memory.conversations.store import SqlConversations
from memory.facts import Entity, Evidence, Fact, Neighbourhood, ScoredFact
from retrieval.catalogue import DocumentEntry
from retrieval.chunk import Chunk
from retrieval.interaction import MaxSim
from retrieval.search import Hit, SearchRequest

ANN = Scope("ann")
QUESTION = "Which port does the server listen on?"
TEXT = "The server listens on port 8000 unless AEGIS_PORT says otherwise. The port must be free."


def chunk(name: str, text: str, heading: str) -> Chunk:
    span = Span(0, len(text))
    return Chunk(
        name,
        f"d-{name}",
        f"v-{name}",
        "default",
        f"file:///{name}.md",
        "Manual",
        0,
        span,
        text,
        None,
        heading,
        1,
        2**53,
    )


PORT = chunk("port", TEXT, "Ports")
BACKUP = chunk(
    "backup", "A backup of the server holds the database and the blobs of all documents.", "Backup and restore"
)
OWNER = chunk("owner", "Anna Berg owns the billing service.", "Owners")


class Documents:
    """Catalogue and searcher in one: finds what shares a word with the query."""

    def __init__(self) -> None:
        self.known = {each.id: each for each in (PORT, BACKUP, OWNER)}
        self.requests: list[SearchRequest] = []
        self.down = False
        self.now = 7
        self.entered = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def search(self, scope: Scope, request: SearchRequest) -> list[Hit]:
        self.requests.append(request)
        self.entered.set()
        if self.gate:
            await self.gate.wait()
        if self.down:
            raise IndexUnavailable("The index does not answer.")
        words = {word.strip("?.,").lower() for word in request.query.split() if len(word) > 3}
        hits = [Hit(each, float(sum(word in each.text.lower() for word in words))) for each in self.known.values()]
        return sorted((hit for hit in hits if hit.score), key=lambda hit: -hit.score)[: request.top_k]

    async def chunks(self, scope: Scope, ids: Sequence[str]) -> list[Chunk]:
        return [self.known[identifier] for identifier in ids if identifier in self.known]

    async def epoch(self) -> int:
        return self.now

    async def newest(self, version_ids: Sequence[str]) -> datetime | None:
        return datetime(2020, 1, 1, tzinfo=UTC)

    async def list_documents(
        self, scope: Scope, *, after: str = "", limit: int = 100, epoch: int | None = None
    ) -> list[DocumentEntry]:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        entries = [
            DocumentEntry(each.document_id, "default", each.source, each.id, "text/markdown", each.version_id, "h",
                          len(each.text), 1, {}, (), None, at)
            for each in self.known.values()
        ]  # fmt: skip
        return sorted((entry for entry in entries if entry.id > after), key=lambda entry: entry.id)[:limit]

    async def totals(self, scope: Scope, epoch: int | None = None) -> dict[str, int]:
        return {"documents": len(self.known), "chunks": len(self.known)}


OWNS = Fact(
    "f1",
    OWNER.text,
    "OWNS",
    Entity("e1", "Anna Berg"),
    Entity("e2", "Billing"),
    None,
    None,
    (Evidence("d-owner", "v-owner", "owner", Span(0, 35), OWNER.text),),
)


class Graph:
    def __init__(self) -> None:
        self.down = False

    async def search(self, scope: Scope, query: str, **_: Any) -> list[ScoredFact]:
        if self.down:
            raise GraphUnavailable("The graph does not answer.")
        return [ScoredFact(OWNS, 2.0)]

    async def facts(self, scope: Scope, ids: Sequence[str]) -> list[Fact]:
        return [OWNS] if OWNS.id in ids else []

    async def stated_at(self, scope: Scope, places: Sequence[tuple[str, int, int]]) -> list[Fact]:
        return [OWNS] if any(chunk == "owner" and start < 35 for chunk, start, _ in places) else []

    async def entities_named(self, scope: Scope, names: Sequence[str]) -> list[Entity]:
        known = {"anna berg": Entity("e1", "Anna Berg"), "billing": Entity("e2", "Billing")}
        return [known[name.lower()] for name in names if name.lower() in known]

    async def path(self, scope: Scope, start: str, end: str, *, hops: int = 4) -> Neighbourhood:
        return Neighbourhood((Entity("e1", "Anna Berg"), Entity("e2", "Billing")), (), (start, end))

    async def around(self, scope: Scope, entity_ids: Sequence[str], **_: Any) -> Neighbourhood:
        return Neighbourhood((), ())

    async def fact(self, scope: Scope, fact_id: str) -> Fact:
        raise NotFound(fact_id)

    async def page(self, scope: Scope, **_: Any) -> list[Fact]:
        return []

    async def totals(self, scope: Scope) -> tuple[int, int]:
        return 2, 1


class Writer:
    """Writes the first passage word by word; waits after the first words when it has a gate."""

    name = "fake"

    def __init__(self) -> None:
        self.gate: asyncio.Event | None = None
        self.closed = False
        self.fails: BaseException | None = None

    async def write(self, request: WriteRequest) -> AsyncGenerator[Piece]:
        try:
            sentence = request.passages[0].text.split(". ")[0].rstrip(".")
            for number, word in enumerate(f"{sentence} [1].".split(" ")):
                if number == 3 and self.gate:
                    await self.gate.wait()
                if number == 3 and self.fails:
                    raise self.fails
                yield Piece(word if number == 0 else f" {word}", "fake")
            yield Piece("", "fake", tokens_in=11, tokens_out=7)
        finally:
            self.closed = True


async def embed(texts: Sequence[str]) -> Any:
    vectors = letters(texts)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def letters(texts: Sequence[str]) -> Any:
    """Bags of letters: near enough for a fake."""
    return np.array([[text.lower().count(letter) for letter in ascii_lowercase] for text in texts], np.float32)


MEANINGS = Meanings(embed, MaxSim(letters, len(ascii_lowercase)).nearest)


@dataclass
class World:
    conversations: SqlConversations
    documents: Documents = field(default_factory=Documents)
    graph: Graph = field(default_factory=Graph)
    writer: Writer = field(default_factory=Writer)
    settings: ChatSettings = field(default_factory=ChatSettings)
    answers: AnswerCache = field(
        default_factory=lambda: AnswerCache(ProcessAnswers(10), ProcessAnswers(100), ExactQuestions(100))
    )
    lookup: Lookup = field(default_factory=lambda: Lookup(lambda: "fake"))

    def nodes(self) -> Nodes:
        documents, graph = self.documents, self.graph
        searching: dict[str, Any] = {
            "route": Router(),
            "retrieve": Retrieve(documents),
            "consult_graph": ConsultGraph(graph, graph, documents, documents),
            "ground": Ground(documents, MEANINGS, self.settings.rewrites),
            "rewrite": Rewrite(),
        }
        again = searched_again(searching, self.settings.rewrites)
        return Nodes(
            **searching,
            condense=Condense(self.conversations, documents.epoch, self.settings.history_turns),
            recall=Recall(self.conversations),
            cache=FromCache(self.answers, documents, self.conversations, MEANINGS, self.lookup, again),
            generate=Generate(documents, self.writer),
            verify=Verify(documents),
            keep=KeepAnswer(self.answers, documents, embed, self.lookup, now),
            abstain=Abstain(),
            converse=Converse(),
            inventory=Inventory(documents, graph, now),
            recount=Recount(),
            dispute=Dispute(self.conversations, graph),
            remember=Remember(self.conversations),
        )

    def compiled(self, *, joined: bool = True) -> Any:
        async def everything(context: Context) -> Scope:
            return Scope(context.user)

        return build(self.nodes(), everything, rewrites=self.settings.rewrites, joined=joined).compile()

    def answering(self) -> Answering:
        async def everything(context: Context) -> Scope:
            return Scope(context.user)

        nodes = self.nodes()
        known = at_once(nodes, cast(FromCache, nodes.cache), everything)
        followups, ended = FollowUps(self.documents), self.answers.release
        return Answering(self.compiled(), self.conversations, self.settings, followups, now, ended, known)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def world(database: Database) -> World:
    return World(SqlConversations(database, now))


async def seen(run: Run) -> list[Event]:
    return [event async for event in run.events()]


def kinds(events: Sequence[Event]) -> list[str]:
    return list(dict.fromkeys(event.kind for event in events))


def ended(events: Sequence[Event]) -> list[str]:
    return [event.data["node"] for event in events if event.kind == "step" and event.data["state"] == "end"]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def test_an_answer_from_the_documents(world: World) -> None:
    run = await world.answering().ask(ANN, QUESTION)
    events = await seen(run)
    turn = await run.result()
    assert kinds(events) == ["metadata", "step", "token", "citations", "followups", "done"]
    followups = next(event.data["questions"] for event in events if event.kind == "followups")
    assert followups == ["What does “Manual” say about “Backup and restore”?"]
    searched = ["route", "retrieve", "ground"]
    assert ended(events) == ["condense", "recall", "cache", *searched, "generate", "verify", "keep", "remember"]
    assert (turn.state, turn.route, turn.abstained, turn.model, turn.epoch) == ("done", "retrieve", False, "fake", 7)
    assert turn.answer.startswith("The server listens on port 8000")
    assert [TEXT[c.start : c.end] for c in turn.citations] == [c.quote for c in turn.citations] != []
    assert "".join(event.data["text"] for event in events if event.kind == "token").startswith("The server listens")
    assert events[-1].data["answer"] == turn.answer
    assert (turn.tokens_in, turn.tokens_out) == (11, 7)
    assert set(turn.timings) == set(ended(events))
    [kept] = await world.conversations.history(ANN, run.conversation_id)
    assert (kept.answer, kept.citations, kept.chunk_ids) == (turn.answer, turn.citations, turn.chunk_ids)
    assert [step["node"] for step in kept.steps] == ended(events)[:-1]


async def test_relations_ask_documents_and_graph_at_once(world: World) -> None:
    run = await world.answering().ask(ANN, "How are Anna Berg and Billing connected by the billing service?")
    events = await seen(run)
    turn = await run.result()
    starts = [event.data["node"] for event in events if event.kind == "step" and event.data["state"] == "start"]
    assert set(starts[4:6]) == {"retrieve", "consult_graph"}
    assert starts.count("ground") == 1
    assert (turn.route, turn.fact_ids) == ("relate", ("f1",))
    assert "owner" in turn.chunk_ids
    [step] = [step for step in turn.steps if step["node"] == "consult_graph"]
    assert step["detail"]["path"] == ["Anna Berg", "Billing"]
    assert {request.mode for request in world.documents.requests} == {"hybrid", "graph"}


async def test_graph_out_of_reach_is_said_and_the_answer_comes_all_the_same(world: World) -> None:
    world.graph.down = True
    turn = await (
        await world.answering().ask(ANN, "Who owns the billing service that the person who left used?")
    ).result()
    assert (turn.route, turn.abstained) == ("relate", False)
    assert GRAPH_NOTE in turn.notes


async def test_index_out_of_reach_ends_in_an_abstention_that_says_so(world: World) -> None:
    world.documents.down = True
    turn = await (await world.answering().ask(ANN, QUESTION)).result()
    assert (turn.state, turn.abstained) == ("done", True)
    assert INDEX_NOTE in turn.notes
    assert len(world.documents.requests) == 1 + world.settings.rewrites


@pytest.mark.parametrize("rewrites", [0, 1, 3])
async def test_rewriting_is_bounded(world: World, rewrites: int) -> None:
    world.settings = ChatSettings(rewrites=rewrites)
    turn = await (await world.answering().ask(ANN, "What do zebras eat in winter at the zoo of Lima?")).result()
    assert turn.abstained
    assert len(world.documents.requests) == 1 + rewrites
    assert turn.answer


@pytest.mark.parametrize(
    ("question", "route", "abstained", "says"),
    [
        ("Hello!", "converse", False, "Hello"),
        ("Tell me a joke.", "converse", True, "not something I can do"),
        ("How many documents are there?", "inventory", False, "3 documents"),
        ("What was my first question?", "recall", True, "nothing"),
    ],
)
async def test_routes_without_retrieval(world: World, question: str, route: str, abstained: bool, says: str) -> None:
    run = await world.answering().ask(ANN, question)
    turn = await run.result()
    assert (turn.route, turn.abstained, turn.state) == (route, abstained, "done")
    assert says in turn.answer
    assert world.documents.requests == []
    assert "".join(event.data["text"] for event in await seen(run) if event.kind == "token") == turn.answer


async def test_a_follow_up_and_a_question_about_the_conversation(world: World) -> None:
    answering = world.answering()
    first = await (await answering.ask(ANN, QUESTION)).result()
    second = await (await answering.ask(ANN, "What about AEGIS_PORT?", conversation_id=first.conversation_id)).result()
    assert "AEGIS_PORT" in second.standalone
    third = await (
        await answering.ask(ANN, "What was my first question?", conversation_id=first.conversation_id)
    ).result()
    assert (third.route, third.abstained) == ("recall", False)
    assert QUESTION in third.answer
    elsewhere = await (await answering.ask(ANN, "What did I ask about the port?")).result()
    assert QUESTION in elsewhere.answer
    stranger = await (await answering.ask(Scope("bob"), "What did I ask about the port?")).result()
    assert QUESTION not in stranger.answer


@pytest.mark.parametrize("question", ["Who owns the billing service?", "How are Anna Berg and Billing connected?"])
async def test_an_answer_called_wrong_shows_what_it_rested_on(world: World, question: str) -> None:
    """Stated by the passage that was cited, or used from the graph."""
    answering = world.answering()
    first = await (await answering.ask(ANN, question)).result()
    assert not first.abstained
    thanks = await (await answering.ask(ANN, "thanks!", conversation_id=first.conversation_id)).result()
    run = await answering.ask(ANN, "Das stimmt nicht.", conversation_id=thanks.conversation_id)
    events, turn = await seen(run), await run.result()
    assert (turn.route, turn.abstained, turn.fact_ids) == ("dispute", False, ("f1",))
    assert OWNS.text in turn.answer
    assert "Nothing has been changed" in turn.answer
    assert question in turn.answer
    done = events[-1].data
    assert [(fact["fact_id"], fact["memory"]) for fact in done["facts"]] == [("f1", "documents")]
    again = await (await answering.ask(ANN, "No, that's wrong!", conversation_id=first.conversation_id)).result()
    assert again.fact_ids == ("f1",)  # of the answer, not of what was said about it


async def test_an_answer_called_wrong_that_no_fact_led_to(world: World) -> None:
    answering = world.answering()
    alone = await (await answering.ask(ANN, "That is wrong.")).result()
    assert (alone.route, alone.answer, alone.fact_ids) == ("dispute", NONE_YET, ())
    first = await (await answering.ask(ANN, QUESTION)).result()
    turn = await (await answering.ask(ANN, "that is wrong", conversation_id=first.conversation_id)).result()
    assert turn.fact_ids == ()
    assert "Manual" in turn.answer  # what the answer quoted
    stranger = await (await answering.ask(Scope("bob"), "that is wrong")).result()
    assert stranger.answer == NONE_YET


async def test_the_run_outlives_those_who_watch_it(world: World) -> None:
    world.writer.gate = asyncio.Event()
    answering = world.answering()
    run = await answering.ask(ANN, QUESTION)
    async for event in run.events():
        if event.kind == "token":
            break  # the first watcher leaves
    late = asyncio.create_task(seen(run))
    gone = asyncio.create_task(seen(run))
    await asyncio.sleep(0)
    gone.cancel()
    assert answering.running(ANN, run.conversation_id) is run
    assert answering.running(Scope("bob"), run.conversation_id) is None
    world.writer.gate.set()
    assert await late == await seen(run)
    assert (await run.result()).state == "done"
    assert answering.running(ANN, run.conversation_id) is None
    assert answering.run(ANN, run.turn_id) is run
    with pytest.raises(NotFound):
        answering.run(Scope("bob"), run.turn_id)


async def test_a_run_that_ended_holds_what_is_shown_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state is some ten times as much, and hundreds of runs are kept for those who come back."""
    made: list[weakref.ref[Progress]] = []

    class Watched(Progress):
        def __init__(self, run: Run, question: str) -> None:
            super().__init__(run, question)
            made.append(weakref.ref(self))

    monkeypatch.setattr("graphs.answering.Progress", Watched)
    answering = world.answering()
    run, last = [await answering.ask(ANN, QUESTION, fresh=True) for _ in range(2)]
    assert [(await one.result()).state for one in (run, last)] == ["done", "done"]
    await (await answering.ask(ANN, QUESTION, fresh=True)).result()
    await until(lambda: gc.collect() >= 0 and made[0]() is None)
    assert answering.run(ANN, run.turn_id) is run
    assert kinds(await seen(run))[-1] == "done"


async def test_whoever_asked_may_go_away_at_once(world: World) -> None:
    answering = world.answering()

    async def ask_and_wait() -> None:
        await (await answering.ask(ANN, QUESTION)).result()

    world.documents.gate = asyncio.Event()
    asker = asyncio.create_task(ask_and_wait())
    await world.documents.entered.wait()
    asker.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asker
    [conversation] = await world.conversations.list(ANN)
    run = answering.running(ANN, conversation.id)
    assert run is not None
    world.documents.gate.set()
    assert (await run.result()).state == "done"


async def test_stop_keeps_what_was_written_and_stops_the_writer(world: World) -> None:
    world.writer.gate = asyncio.Event()
    run = await world.answering().ask(ANN, QUESTION)
    async for event in run.events():
        if event.kind == "token" and event.data["text"] == " listens":
            break
    await run.stop()
    await run.stop()
    turn = await run.result()
    assert (turn.state, turn.answer) == ("stopped", "The server listens")
    assert world.writer.closed
    assert (await seen(run))[-1].kind == "done"
    assert (await world.conversations.turn(ANN, run.turn_id)).answer == "The server listens"


async def test_stop_before_anything_was_written(world: World) -> None:
    world.documents.gate = asyncio.Event()
    run = await world.answering().ask(ANN, QUESTION)
    await world.documents.entered.wait()
    await run.stop()
    assert ((await run.result()).state, run.turn.answer) == ("stopped", "")
    assert (await world.conversations.turn(ANN, run.turn_id)).state == "stopped"


@pytest.mark.parametrize(
    ("error", "code"),
    [(ModelFailed("The model broke off."), "model_failed"), (RuntimeError("secret detail"), "internal")],
)
async def test_a_failure_is_told_and_kept(world: World, error: Exception, code: str) -> None:
    world.writer.fails = error
    run = await world.answering().ask(ANN, QUESTION)
    events = await seen(run)
    assert (events[-1].kind, events[-1].data["code"]) == ("error", code)
    assert "secret" not in events[-1].data["message"]
    kept = await world.conversations.turn(ANN, run.turn_id)
    assert (kept.state, kept.answer) == ("failed", "The server listens")
    assert run.error is not None


async def test_an_answer_that_takes_too_long_is_ended(world: World) -> None:
    world.settings = ChatSettings(deadline=0.2)
    world.writer.gate = asyncio.Event()
    run = await world.answering().ask(ANN, QUESTION)
    assert (await seen(run))[-1].data["code"] == "unavailable"
    assert (await run.result()).state == "failed"
    assert world.writer.closed


async def test_a_store_that_cannot_save_is_an_error_not_an_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(scope: Scope, turn: Turn) -> None:
        raise StoreUnavailable("The relational store does not answer.")

    monkeypatch.setattr(world.conversations, "finish", broken)
    run = await world.answering().ask(ANN, QUESTION)
    assert (await seen(run))[-1].data["code"] == "store_unavailable"


async def test_questions_at_once_are_bounded_and_closing_keeps_what_was_written(world: World) -> None:
    world.settings = ChatSettings(max_running=2)
    world.writer.gate = asyncio.Event()
    answering = world.answering()
    runs = [await answering.ask(ANN, question) for question in (QUESTION, "Which port must be free?")]
    with pytest.raises(Overloaded):
        await answering.ask(ANN, QUESTION)
    assert len(await world.conversations.list(ANN)) == 2
    await until(lambda: world.writer.gate is not None and all(run._events[-1].kind == "token" for run in runs))  # pyright: ignore[reportPrivateUsage] - there is no other way to know how far it is
    await answering.aclose()
    assert [(await world.conversations.turn(ANN, run.turn_id)).state for run in runs] == ["stopped"] * 2
    with pytest.raises(Unavailable):
        await answering.ask(ANN, QUESTION)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"question": "  \n"}, InvalidInput),
        ({"question": "x" * 8001}, TooLarge),
        ({"mode": "psychic"}, InvalidInput),
        ({"top_k": 0}, InvalidInput),
        ({"top_k": 1000}, InvalidInput),
        ({"conversation_id": "../etc"}, InvalidInput),
        ({"as_of": "yesterday-ish"}, InvalidInput),
        ({"filters": {"colour": "red"}}, InvalidInput),
        ({"filters": {"date_from": "32 May"}}, InvalidInput),
    ],
)
async def test_bad_input_is_refused_before_anything_is_kept(
    world: World, arguments: dict[str, Any], error: type[Exception]
) -> None:
    values: dict[str, Any] = {"question": QUESTION, **arguments}
    with pytest.raises(error):
        await world.answering().ask(ANN, **values)
    assert await world.conversations.list(ANN) == []


async def test_another_users_conversation_is_not_there(world: World) -> None:
    answering = world.answering()
    turn = await (await answering.ask(ANN, QUESTION)).result()
    with pytest.raises(NotFound):
        await answering.ask(Scope("bob"), QUESTION, conversation_id=turn.conversation_id)
    assert len(await world.conversations.history(ANN, turn.conversation_id)) == 1


async def test_request_values_reach_the_search(world: World) -> None:
    filters = {"collection": "default", "tag": ["a"], "date_from": "2026-01-01"}
    run = await world.answering().ask(
        ANN, QUESTION, mode="keyword", top_k=3, as_of="2026-02-01", known_at=4, filters=filters
    )
    assert (await run.result()).epoch == 4
    request = world.documents.requests[0]
    assert (request.mode, request.top_k, request.known_at, request.collection) == ("keyword", 3, 4, "default")
    assert request.filter.tags == ("a",)
    assert request.as_of == datetime(2026, 2, 1, tzinfo=UTC)


async def test_without_context_the_local_scope_is_resolved_and_threads_do_not_leak(world: World) -> None:
    """As `langgraph dev` runs it: no context, and a checkpointer that keeps the state between runs."""
    from langgraph.checkpoint.memory import InMemorySaver

    async def local(context: Context) -> Scope:
        return Scope(context.user)

    graph = build(world.nodes(), local).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": new_id()}}
    first = await graph.ainvoke({"question": QUESTION}, config)  # pyright: ignore[reportArgumentType] - the first node sets the rest
    assert first["citations"]
    second = await graph.ainvoke({"question": "Hello!"}, config)  # pyright: ignore[reportArgumentType] - the same
    assert (second["found"], second["citations"], second["abstained"]) == ([], [], False)
    assert len(second["history"]) == 2
    assert await world.conversations.list(Scope("local")) == []
