"""The answer cache in a run: `FromCache` serves what asking again would find, `KeepAnswer` keeps an answer.

Only answers from documents are cached, never abstentions, small talk, counts or what earlier turns tell. An answer is
served at once while nothing was published since it was last compared; afterwards the search alone is run again, and
it is served if that finds the same passages and facts. A question that only resembles the one answered has to agree
with it (`agreement.py`), its own search must lead to the answer's sources, and these must answer it (`ground.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from langgraph.runtime import Runtime

from aegis import telemetry
from aegis.scope import Scope
from agents.agreement import WordVectors, disagreement
from agents.condense import stands_alone
from agents.consult_graph import GRAPH_NOTE
from agents.evidence import asked_of, gather
from agents.ground import ENOUGH, Meanings, judge
from agents.retrieve import INDEX_NOTE
from agents.route import classify
from agents.state import Context, State, token
from inference.extractive import Embed, ExtractiveWriter
from memory.cache import Entry
from memory.cache.answer_cache import AnswerCache
from memory.cache.key import entry_id, key_of
from memory.statements import only_states
from retrieval.chunk import Chunk

SIMILAR = 0.6  # cosine from which a question is looked at; what it takes to be served is more
LOOKED_AT = 5  # nearest questions
LEADING = 3  # passages that a near question finds first: the answer's search must have found them, too
STABLE = timedelta(hours=24)  # how long an answer is kept, and how old a document is that counts as stable
FRESH = timedelta(hours=1)

Again = Callable[[State, Context], Awaitable[State]]
"""Everything that a run does between its route and its answer: `found`, `facts`, `route`, `enough`."""


class Documents(Protocol):
    async def epoch(self) -> int: ...

    async def chunks(self, scope: Scope, ids: Sequence[str]) -> list[Chunk]: ...

    async def newest(self, version_ids: Sequence[str]) -> datetime | None: ...


class Told(Protocol):
    async def holds(self, scope: Scope, turn_id: str) -> bool:
        """Whether the user still has this turn."""
        ...


@dataclass(frozen=True)
class Lookup:
    """Under what a question is looked up. `by` is what makes answers in this process: models, prompts, settings."""

    by: Callable[[], str]
    enabled: bool = True

    def of(self, state: State, context: Context) -> dict[str, str] | None:
        """None for what is not cached: it depends on its conversation, or is not for the documents."""
        question = asked_of(state)
        if (
            not self.enabled
            or state.get("recalled")
            or state.get("facts")
            or only_states(state["question"])
            or not stands_alone(question)
            or classify(state["question"]) not in _CACHED
        ):
            return None
        by = self.by()
        key = key_of(
            user=context.user,
            collections=context.collections or (),
            filters=context.filters,
            top_k=context.top_k,
            as_of=context.as_of,
            known_at=context.known_at,
            mode=context.mode,
            by=by,
        )
        return {"id": entry_id(key, question), "key": key, "by": by}


_CACHED = ("retrieve", "relate")


@dataclass(frozen=True)
class FromCache:
    """Node: sets `cached` and everything of the answer, or only `lookup`, under which it will be kept.

    Of equal questions at the same time one goes on; the others wait for its answer. `recheck` False serves without
    comparing, which is wrong: it is there for the test that proves the comparison needed. `written` goes on to the
    checked answer, where that is as quick as the search: then a near question must be answered from the same passages.
    """

    cache: AnswerCache
    documents: Documents
    conversations: Told
    meanings: Meanings = field(repr=False)
    lookup: Lookup
    again: Again
    vectors: WordVectors | None = None
    written: Again | None = None
    recheck: bool = True

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        context = runtime.context
        lookup = self.lookup.of(state, context)
        if lookup is None:
            return {}
        if context.fresh:
            telemetry.CACHED.labels("refused").inc()
            return {"lookup": lookup}
        search = _Search(self.again, state, context)
        while True:
            entry, outcome = await self._served(state, context, lookup, search)
            if entry is not None:
                telemetry.CACHED.labels(outcome).inc()
                runtime.stream_writer(token(entry.answer))
                return served(entry, outcome)
            if not context.turn_id or self.cache.claim(lookup["id"], context.turn_id):
                break
            if await self.cache.ended(lookup["id"]) == "none":
                break
        telemetry.CACHED.labels("missed").inc()
        return {"lookup": lookup}

    async def _served(
        self, state: State, context: Context, lookup: dict[str, str], search: _Search
    ) -> tuple[Entry | None, str]:
        entry = await self.cache.exact(lookup["id"])
        if entry is not None and await self._told(entry, context.scope):
            same, outcome = await self._compared(entry, state, context, search, lookup["by"])
            if same is not None:
                return same, outcome
        return await self._near(state, context, lookup, search), "near"

    async def at_hand(self, state: State, context: Context) -> Entry | None:
        """What is served at once: kept in this process for this very question, and nothing was published since."""
        lookup = None if context.fresh else self.lookup.of(state, context)
        entry = await self.cache.at_hand(lookup["id"]) if lookup is not None else None
        if entry is None or not _stands(entry, await self._epoch(state, context)):
            return None
        return entry if await self._told(entry, context.scope) else None

    async def _told(self, entry: Entry, scope: Scope) -> bool:
        """Whether the turn that was answered so is still there. Evicting is best effort, with a Redis that was away or
        in another process: what the person has deleted is not given again, whoever still keeps it."""
        if not entry.turn_id or await self.conversations.holds(scope, entry.turn_id):
            return True
        await self.cache.drop(entry)
        return False

    async def _compared(
        self, entry: Entry, state: State, context: Context, search: _Search, by: str
    ) -> tuple[Entry | None, str]:
        epoch = await self._epoch(state, context)
        if not self.recheck or _stands(entry, epoch):
            return entry, "exact"
        fresh = await search.found()
        if INDEX_NOTE in fresh.get("notes", ()) or GRAPH_NOTE in fresh.get("notes", ()):
            return None, ""
        if await self._same(entry, fresh, context.scope) and await self._written_alike(entry, state, context, by):
            return await self.cache.stamp(entry, epoch), "compared"
        if entry.epoch <= epoch:
            telemetry.CACHED.labels("outdated").inc()
            await self.cache.drop(entry)
        return None, ""

    async def _same(self, entry: Entry, fresh: State, scope: Scope) -> bool:
        return (
            bool(fresh.get("enough"))
            and {hit["chunk_id"] for hit in fresh.get("found", ())} == {hit["chunk_id"] for hit in entry.found}
            and {fact["fact_id"] for fact in fresh.get("facts", ())} == {fact["fact_id"] for fact in entry.facts}
            and [chunk.id for _, chunk in await gather(self.documents, scope, fresh)] == list(entry.read)
        )

    async def _near(self, state: State, context: Context, lookup: dict[str, str], search: _Search) -> Entry | None:
        question = asked_of(state)
        vector = (await self.meanings.embed([question]))[0]
        for entry, cosine in await self.cache.near(lookup["key"], vector, LOOKED_AT):
            if cosine < SIMILAR or disagreement(question, entry.question, self.vectors) is not None:
                continue
            if not await self._told(entry, context.scope):
                continue
            fresh = await search.found()
            if not await self._answers(entry, question, fresh, context.scope):
                continue
            if not await self._written_alike(entry, state, context, lookup["by"]):
                continue
            alias = await self._alias(entry, lookup, question, fresh, context)
            await self.cache.keep(alias, vector)
            return alias
        return None

    async def _answers(self, entry: Entry, question: str, fresh: State, scope: Scope) -> bool:
        """Whether a run of its own would rest on the same sources, and these answer this question."""
        if not fresh.get("enough") or fresh.get("notes"):
            return False
        evidence = await gather(self.documents, scope, fresh)
        read = [chunk.id for _, chunk in evidence]
        known = {hit["chunk_id"] for hit in entry.found} | set(entry.read)
        if not set(entry.cited) <= set(read) or not set(read[:LEADING]) <= known:
            return False
        cited = [passage for passage, chunk in evidence if chunk.id in entry.cited]
        return await judge(question, cited, self.meanings) >= ENOUGH

    async def _written_alike(self, entry: Entry, state: State, context: Context, by: str) -> bool:
        """Extracts are chosen by the scores of passages, too, which other documents move: the same passages may be
        quoted otherwise. Asked again, a language model would see the same."""
        if self.written is None or not by.startswith(ExtractiveWriter.name):
            return True
        anew = await self.written(state, context)
        return {citation["chunk_id"] for citation in anew.get("citations", ())} == set(entry.cited)

    async def _alias(
        self, entry: Entry, lookup: dict[str, str], question: str, fresh: State, context: Context
    ) -> Entry:
        """The same answer under this question, to be compared with this question's own search from now on."""
        evidence = await gather(self.documents, context.scope, fresh)
        versions = {chunk.version_id for _, chunk in evidence}
        facts = [fact["fact_id"] for fact in fresh.get("facts", ())]
        return replace(
            entry,
            id=lookup["id"],
            question=question,
            found=fresh.get("found", []),
            read=[chunk.id for _, chunk in evidence],
            facts=fresh.get("facts", []),
            route=fresh.get("route", "retrieve"),
            epoch=await self._epoch(fresh, context),
            rests_on=sorted({*entry.rests_on, *versions, *facts, *filter(None, [context.conversation_id])}),
        )

    async def _epoch(self, state: State, context: Context) -> int:
        return await epoch_of(self.documents, state, context)


@dataclass(frozen=True)
class AtHand:
    """Node in the place of `FromCache`: sets `cached` and everything of the answer where nothing needs a look."""

    kept: FromCache

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        entry = await self.kept.at_hand(state, runtime.context)
        if entry is None:
            return {}
        telemetry.CACHED.labels("exact").inc()
        runtime.stream_writer(token(entry.answer))
        return served(entry, "exact")


def _stands(entry: Entry, epoch: int) -> bool:
    """Facts change without an epoch: those that people's conversations tell, and those that end with time."""
    return entry.epoch == epoch and entry.route != "relate"


class _Search:
    """The run's own search, made at most once."""

    def __init__(self, again: Again, state: State, context: Context) -> None:
        self._again, self._state, self._context = again, state, context
        self._found: State | None = None

    async def found(self) -> State:
        if self._found is None:
            self._found = await self._again(self._state, self._context)
        return self._found


async def epoch_of(documents: Documents, state: State, context: Context) -> int:
    """What an entry is stamped with: the epoch its search saw, or, of a run in the past, the newest before it."""
    if context.known_at is None and "epoch" in state:
        return state["epoch"]
    return await documents.epoch()


def served(entry: Entry, outcome: str) -> dict[str, Any]:
    """The state as if it had been found and written anew, but for `cached`."""
    titles = list(dict.fromkeys(str(citation["title"]) for citation in entry.citations))
    return {
        "answer": entry.answer,
        "abstained": False,
        "citations": [dict(citation) for citation in entry.citations],
        "found": [dict(hit) for hit in entry.found],
        "facts": [dict(fact) for fact in entry.facts],
        "path": list(entry.path),
        "route": entry.route,
        "model": entry.model,
        "enough": True,
        "judged": entry.judged,
        "notes": list(entry.notes),
        "tokens_in": 0,
        "tokens_out": 0,
        "cached": {
            "turn_id": entry.turn_id,
            "question": entry.asked,
            "answered_at": entry.answered_at,
            "near": entry.asked != entry.question or outcome == "near",
            "sources": titles,
        },
    }


@dataclass(frozen=True)
class KeepAnswer:
    """Node: keeps the answer that was just checked, if it may be served again. Changes nothing in the state."""

    cache: AnswerCache
    documents: Documents
    embed: Embed = field(repr=False)
    lookup: Lookup
    clock: Callable[[], datetime]

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        context, lookup = runtime.context, state.get("lookup")
        if not lookup or not self._worth(state) or lookup["by"] != self.lookup.by():
            return {}
        # What was published meanwhile may have taken a source away: better no entry than one with an erased text.
        if context.known_at is None and await self.documents.epoch() != state.get("epoch"):
            return {}
        entry = await self._entry(state, context, lookup)
        await self.cache.keep(entry, (await self.embed([entry.question]))[0])
        self.cache.release(context.turn_id, "kept")
        return {}

    def _worth(self, state: State) -> bool:
        """Complete, from the documents, with sources; not by a stand-in for the model that should have written it."""
        notes, model = state.get("notes", []), state.get("model", "")
        if state.get("abstained") or not state.get("answer") or not state.get("citations"):
            return False
        if INDEX_NOTE in notes or GRAPH_NOTE in notes:
            return False
        extractive = model == ExtractiveWriter.name
        if state.get("history") and not extractive:  # a model was shown what was said before
            return False
        return not notes if not extractive else self.lookup.by().startswith(ExtractiveWriter.name)

    async def _entry(self, state: State, context: Context, lookup: dict[str, str]) -> Entry:
        evidence = await gather(self.documents, context.scope, state)
        versions = sorted({chunk.version_id for _, chunk in evidence})
        facts = state.get("facts", [])
        now = self.clock()
        return Entry(
            id=lookup["id"],
            key=lookup["key"],
            question=asked_of(state),
            asked=asked_of(state),
            answer=state.get("answer", ""),
            citations=state.get("citations", []),
            found=state.get("found", []),
            read=[chunk.id for _, chunk in evidence],
            facts=facts,
            route=state.get("route", "retrieve"),
            model=state.get("model", ""),
            epoch=await epoch_of(self.documents, state, context),
            rests_on=[*versions, *(fact["fact_id"] for fact in facts), *filter(None, [context.conversation_id])],
            turn_id=context.turn_id,
            answered_at=now.isoformat(),
            expires=(now + await self._lifetime(state, versions, now)).timestamp(),
            path=state.get("path", []),
            judged=state.get("judged", 0.0),
            notes=state.get("notes", []),
        )

    async def _lifetime(self, state: State, versions: Sequence[str], now: datetime) -> timedelta:
        in_conversation = asked_of(state) != " ".join(state["question"].split())
        newest = await self.documents.newest(versions)
        return FRESH if in_conversation or newest is None or now - newest < STABLE else STABLE
