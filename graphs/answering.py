"""Questions answered apart from whoever asks: one task per turn, its events kept for everyone who watches.

The API, the page and the command line all ask here. Closing a connection stops nothing; `Run.stop` does.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import asdict, replace
from datetime import datetime
from itertools import islice
from typing import Any, get_args

from aegis import telemetry
from aegis.errors import AegisError, InvalidInput, NotFound, Overloaded, PromptCut, TooLarge, Unavailable
from aegis.scope import Scope, new_id
from aegis.services import Services
from aegis.settings import ChatSettings
from agents.remember import turn_of
from agents.retrieve import document_filter, moment
from agents.state import TOP_K, Context, State
from graphs.at_once import Answered, AtOnce
from graphs.followups import FollowUps
from graphs.progress import Progress
from graphs.run import Run
from graphs.step import watcher
from graphs.wiring import graph_of, known_of, nodes_of, now
from memory.cache.answer_cache import Outcome
from memory.conversations import Conversations, Turn, TurnState, told
from retrieval.search import Mode

logger = logging.getLogger(__name__)

MAX_TOP_K = 100
MAX_STEPS = 40  # of the graph in one run: twice what the longest way with three rewrites needs
KEEP_SECONDS = 300.0  # a run that ended, for those who come back
KEEP_RUNS = 256
CLOSE_SECONDS = 10.0

_UNEXPECTED = "Something went wrong while answering; the server's log says what."


class Answering:
    """`graph` is compiled. `followups` proposes questions once an answer stands."""

    def __init__(
        self,
        graph: Any,
        conversations: Conversations,
        settings: ChatSettings,
        followups: Callable[[Scope, State], Awaitable[list[str]]],
        clock: Callable[[], datetime] = now,
        ended: Callable[[str, Outcome], None] = lambda turn_id, outcome: None,
        known: AtOnce | None = None,
    ) -> None:
        """`ended` is told of every turn: those who wait for its answer go on. `known` answers what is at hand."""
        self._graph = graph
        self._conversations = conversations
        self._settings = settings
        self._followups = followups
        self._clock = clock
        self._tell = ended
        self._known = known
        self._runs: dict[str, Run] = {}  # by turn, oldest first, those that ended for a while
        self._under_way: dict[str, Run] = {}  # by turn, oldest first
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def ask(
        self,
        scope: Scope,
        question: str,
        *,
        conversation_id: str | None = None,
        mode: str = "hybrid",
        top_k: int | None = None,
        as_of: datetime | str | None = None,
        known_at: int | None = None,
        filters: Mapping[str, Any] | None = None,
        fresh: bool = False,
        agreed: bool = False,
    ) -> Run:
        """Begin a turn. On return its question is durable and its run under way, whoever leaves.

        `fresh`: not from the answer cache.

        Raises InvalidInput, TooLarge, NotFound (another user's conversation), Overloaded, StoreUnavailable.
        """
        self._check(question, conversation_id, mode, top_k)
        document_filter(filters or {})
        at = moment(as_of, "as_of")
        turn = Turn(new_id(), conversation_id or new_id(), question, mode=mode, created_at=self._clock())
        context = Context(
            user=scope.user,
            collections=tuple(sorted(scope.collections)),
            conversation_id=turn.conversation_id,
            turn_id=turn.id,
            opens=conversation_id is None,
            mode=mode,
            top_k=top_k or TOP_K,
            as_of=at.isoformat() if at else None,
            known_at=known_at,
            filters=dict(filters or {}),
            fresh=fresh or agreed,  # a kept answer was paid for, if at all, by another question
            agreed=agreed,
        )
        run = Run(turn, context)
        self._admit(run)
        try:
            known = await self._at_hand(run) if context.opens else None
            if known is None:
                await self._conversations.begin(scope, turn)
        except BaseException:
            del self._runs[turn.id], self._under_way[turn.id]
            telemetry.RUNNING.dec()
            raise
        if known is not None:  # and its turn committed
            await self._give(run, scope, known)
            return run
        task = asyncio.create_task(self._drive(run, scope), name=f"turn {turn.id}")
        run.started(task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    @property
    def busy(self) -> bool:
        """Whether a question is being answered."""
        return bool(self._under_way)

    def running(self, scope: Scope, conversation_id: str) -> Run | None:
        """The newest turn that this conversation is waiting for."""
        for run in reversed(self._under_way.values()):
            if run.conversation_id == conversation_id and run.context.user == scope.user:
                return run
        return None

    def run(self, scope: Scope, turn_id: str) -> Run:
        """A run under way, or one that ended within the last minutes. Raises NotFound."""
        run = self._runs.get(turn_id)
        if run is None or run.context.user != scope.user:
            raise NotFound(f"No run of turn {turn_id} is under way.", turn_id=turn_id)
        return run

    async def aclose(self) -> None:
        """Stop what runs, keeping what was written, and take no more."""
        self._closed = True
        for run in self._under_way.values():
            run.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)

    def _check(self, question: str, conversation_id: str | None, mode: str, top_k: int | None) -> None:
        limit = self._settings.max_question_chars
        if not question.strip():
            raise InvalidInput("The question is empty; ask something.")
        if len(question) > limit:
            raise TooLarge(f"The question has {len(question)} characters; at most {limit} are taken.", limit=limit)
        if mode not in get_args(Mode):
            raise InvalidInput(f"mode is {mode!r}; it can be {', '.join(get_args(Mode))}.", mode=mode)
        if top_k is not None and not 1 <= top_k <= MAX_TOP_K:
            raise InvalidInput(f"top_k is {top_k}; it can be 1 to {MAX_TOP_K}.", top_k=top_k)
        if conversation_id is not None:
            _check_id(conversation_id)

    def _admit(self, run: Run) -> None:
        if self._closed:
            raise Unavailable("The server is stopping; try again shortly.")
        self._sweep()
        running = len(self._under_way)
        if running >= self._settings.max_running:
            raise Overloaded(f"{running} questions are being answered already; try again in a few seconds.")
        self._runs[run.turn_id] = self._under_way[run.turn_id] = run
        telemetry.RUNNING.inc()

    def _sweep(self) -> None:
        """Forget the oldest runs that ended, beyond those kept for people who come back."""
        beyond = len(self._runs) - len(self._under_way) - KEEP_RUNS
        if beyond > 0:
            ended = (turn_id for turn_id, run in self._runs.items() if run.ended)
            for turn_id in list(islice(ended, beyond)):
                del self._runs[turn_id]

    async def _at_hand(self, run: Run) -> Answered | None:
        return None if self._known is None else await self._known(run.turn.question, run.context)

    async def _give(self, run: Run, scope: Scope, found: Answered) -> None:
        run.settling()
        run.publish("metadata", turn_id=run.turn_id, conversation_id=run.conversation_id)
        progress = Progress(run, run.turn.question)
        for event in found.events:
            progress.tell(event)
        progress.state = found.state
        try:
            await self._settle(run, scope, progress, "done")
        finally:
            self._end(run)

    async def _drive(self, run: Run, scope: Scope) -> None:
        progress = Progress(run, run.turn.question)
        run.publish("metadata", turn_id=run.turn_id, conversation_id=run.conversation_id)
        outcome: TurnState = "done"
        try:
            async with asyncio.timeout(self._settings.deadline):
                await self._stream(run, progress)
        except asyncio.CancelledError:
            outcome = "stopped"
        except TimeoutError:
            run.error = Unavailable(f"The answer took longer than {self._settings.deadline:g} s and was ended.")
        except PromptCut as error:  # what was written answers another question
            progress.text.clear()
            run.error = error
        except AegisError as error:
            run.error = error
        except Exception:  # whatever it is, the turn ends with an error that is told
            logger.exception("Turn %s failed", run.turn_id)
            run.error = AegisError(_UNEXPECTED)
        run.settling()
        self._tell(run.turn_id, "none" if outcome == "done" and run.error is None else "failed")
        try:
            await self._settle(run, scope, progress, "failed" if run.error else outcome)
        finally:
            self._end(run)

    def _end(self, run: Run) -> None:
        run.end()
        del self._under_way[run.turn_id]
        telemetry.RUNNING.dec()
        # In a context of its own: this one holds all that the run has come to, and would for as long.
        asyncio.get_running_loop().call_later(
            KEEP_SECONDS, self._runs.pop, run.turn_id, None, context=contextvars.Context()
        )

    async def _stream(self, run: Run, progress: Progress) -> None:
        watcher.set(progress.tell)  # of this task, and those that LangGraph makes in it
        stream = self._graph.astream(
            {"question": run.turn.question},
            context=run.context,
            stream_mode="values",
            config={"recursion_limit": MAX_STEPS},
        )
        async with aclosing(stream) as states:
            async for state in states:
                progress.state = state

    async def _settle(self, run: Run, scope: Scope, progress: Progress, outcome: TurnState) -> None:
        state = progress.written()
        run.turn = replace(turn_of(run.context, state, outcome), created_at=run.turn.created_at)
        if outcome != "done":  # a run that came to its end was committed by its last node
            await self._commit(run, scope)
        progress.measure(outcome if outcome != "done" else ("abstained" if run.turn.abstained else "answered"))
        if run.error is not None:
            run.publish("error", code=run.error.code, message=run.error.message)
            return
        if not progress.text and run.turn.answer:
            run.publish("token", text=run.turn.answer)
        if run.turn.citations:
            run.publish("citations", citations=[asdict(citation) for citation in run.turn.citations])
        if outcome == "done" and (questions := await self._proposed(scope, state)):
            run.publish("followups", questions=questions)
        run.publish("done", **told(run.turn))

    async def _commit(self, run: Run, scope: Scope) -> None:
        try:
            await self._conversations.finish(scope, run.turn)
        except AegisError as error:
            logger.error("Turn %s could not be saved: %s", run.turn_id, error)
            run.error = run.error or error

    async def _proposed(self, scope: Scope, state: State) -> list[str]:
        try:
            return await self._followups(scope, state)
        except AegisError as error:
            logger.warning("No questions to go on with: %s", error)
            return []


def _check_id(conversation_id: str) -> None:
    with suppress(ValueError):
        if str(uuid.UUID(conversation_id)) == conversation_id.lower():
            return
    raise InvalidInput(f"{conversation_id[:80]!r} is not a conversation id; ids are UUIDs.")


@asynccontextmanager
async def open_answering(services: Services) -> AsyncGenerator[Answering]:
    nodes = nodes_of(services)
    graph, known = graph_of(services, nodes).compile(name="rag"), known_of(services, nodes)
    followups, ended = FollowUps(services.catalogue), services.answers.release
    answering = Answering(graph, services.conversations, services.settings.chat, followups, now, ended, known)
    try:
        yield answering
    finally:
        await answering.aclose()
