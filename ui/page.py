"""Chainlit's callbacks, kept thin: ask, follow, stop, come back. `register` hooks them in.

Questions and Stop are taken from the socket directly rather than through `@cl.on_message`: a run's step then has the
turn's id from the start, files go to ingestion instead of Chainlit's own file route, and stopping keeps the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import chainlit as cl
from chainlit.context import init_ws_context
from chainlit.server import sio
from chainlit.session import WebsocketSession

from aegis.errors import AegisError, NotFound
from aegis.scope import Scope, new_id
from graphs.run import Run
from ui import ending, markup, render, viewer, welcome
from ui.following import Following
from ui.history import History
from ui.render import Frame
from ui.uploads import Incoming, take_in

_tasks: set[asyncio.Task[None]] = set()


def register() -> None:
    cl.header_auth_callback(_log_in)
    cl.data_layer(History)
    cl.set_starters(_starters)
    cl.on_chat_resume(_come_back)
    cl.action_callback("agree")(_agree)
    cl.action_callback("fresh")(_anew)
    sio.on("client_message", _message)
    sio.on("stop", _stop)


async def viewing_user() -> cl.User:
    return cl.User(identifier=(await viewer.scope()).user)


async def _log_in(_: Mapping[str, str]) -> cl.User | None:
    return await viewing_user()


async def _starters(_: cl.User | None) -> list[cl.Starter]:
    questions = await welcome.starters(viewer.services().catalogue, await viewer.scope())
    return [cl.Starter(label=question, message=question) for question in questions]


async def _message(sid: str, payload: dict[str, Any]) -> None:
    session = WebsocketSession.require(sid)
    _start(_answer(session, payload))


async def _stop(sid: str) -> None:
    session = WebsocketSession.get(sid)
    if session is not None:
        await ending.stop(await viewer.scope(), session.thread_id, viewer.answering())


async def _answer(session: WebsocketSession, payload: dict[str, Any]) -> None:
    """Take in the files that came along, then answer the question."""
    asked = payload["message"]
    question_id, text, files = str(asked["id"]), str(asked.get("output") or ""), _files(session, payload)
    async with _working(session, question_id):
        await _interacted(session, text or "files")
        if files:
            await take_in(_emitter(session), session.thread_id, question_id, files)
        if text.strip():
            await _ask(session, text, question_id)


async def _agree(action: cl.Action) -> None:
    """Ask the question of a turn again, now with a paid call of a cloud model."""
    await _again(action, agreed=True)


async def _anew(action: cl.Action) -> None:
    """Ask the question of a turn again, and not the answer cache."""
    await _again(action, fresh=True)


async def _again(action: cl.Action, *, fresh: bool = False, agreed: bool = False) -> None:
    session = cl.context.session
    if not isinstance(session, WebsocketSession):
        return
    scope = await viewer.scope()
    turn = await viewer.services().conversations.turn(scope, str(action.payload.get("turn")))
    question_id, emitter = new_id(), _emitter(session)
    frame = Frame(turn.id, session.thread_id, question_id, render.moment(None))
    await emitter.send_step(render.question(frame, turn.question, scope.user))
    async with _working(session, question_id):
        await _ask(session, turn.question, question_id, fresh=fresh, agreed=agreed)


@asynccontextmanager
async def _working(session: WebsocketSession, question_id: str) -> AsyncGenerator[None]:
    """The page shows that it works, and what went wrong, under the question."""
    emitter = _emitter(session)
    await emitter.task_start()
    try:
        yield
    except AegisError as error:
        said = markup.plain(error.message)
        await emitter.send_step(render.aside(session.thread_id, question_id, said, identifier=new_id(), is_error=True))
    finally:
        await emitter.task_end()


async def _ask(
    session: WebsocketSession, text: str, question_id: str, *, fresh: bool = False, agreed: bool = False
) -> None:
    scope = await viewer.scope()
    run = await viewer.answering().ask(scope, text, conversation_id=session.thread_id, fresh=fresh, agreed=agreed)
    await _tell_news(session, scope, question_id)
    # The conversation exists from here on: the sidebar looks again, and the address leads back to it.
    await _interacted(session, run.conversation_id)
    emitter = _emitter(session)
    await emitter.send_window_message({"aegis": "conversation", "id": run.conversation_id})
    await _follow(session, run, question_id)


async def _tell_news(session: WebsocketSession, scope: Scope, question_id: str) -> None:
    """Standing questions that documents have come in for since."""
    for found in await viewer.services().standing.news(scope):
        titles = ", ".join(dict.fromkeys(str(piece["title"]) for piece in found.evidence))
        said = markup.plain(f"You asked “{found.question}” before: {titles} answers it now. Ask it again to see how.")
        await _emitter(session).send_step(render.aside(session.thread_id, question_id, said, identifier=new_id()))


async def _follow(session: WebsocketSession, run: Run, question_id: str) -> None:
    frame = Frame(run.turn_id, run.conversation_id, question_id, render.moment(run.turn.created_at))
    by_model = render.is_model(viewer.services().writer.name)
    await Following(_emitter(session), run, frame, by_model=by_model).show()


async def _interacted(session: WebsocketSession, what: str) -> None:
    session.has_first_interaction = True
    await _emitter(session).emit("first_interaction", {"interaction": what, "thread_id": session.thread_id})


async def _come_back(thread: Any) -> None:
    """Go on with the turns that were still being answered when the conversation was read."""
    session = cl.context.session
    running = (thread.get("metadata") or {}).get("running") or []
    if isinstance(session, WebsocketSession) and running:
        _start(_rejoin(session, list(running), _resumed(session)))


def _resumed(session: WebsocketSession) -> asyncio.Event:
    """Set once Chainlit has sent the conversation: what was sent before would be wiped by it."""
    sent, live, emit = asyncio.Event(), cast(Any, session), cast(Any, session.emit)

    async def watched(event: str, data: Any) -> None:
        await emit(event, data)
        if event == "resume_thread":
            live.emit = emit
            sent.set()

    live.emit = watched
    return sent


async def _rejoin(session: WebsocketSession, turn_ids: list[str], resumed: asyncio.Event) -> None:
    await resumed.wait()
    emitter = _emitter(session)
    await emitter.task_start()
    try:
        await asyncio.gather(*(_rejoin_turn(session, turn_id) for turn_id in turn_ids))
    finally:
        await emitter.task_end()


async def _rejoin_turn(session: WebsocketSession, turn_id: str) -> None:
    scope = await viewer.scope()
    turn = await viewer.services().conversations.turn(scope, turn_id)
    frame = render.frame_of(turn)
    try:
        run = viewer.answering().run(scope, turn_id)
    except NotFound:  # another process answers it
        message = "This question is being answered by another server; open the conversation again in a moment."
        await _emitter(session).send_step(render.error(frame, message))
        return
    await _follow(session, run, frame.question_id)


def _emitter(session: WebsocketSession) -> Any:
    """What sends to this page, over whichever socket it has now; Chainlit's own calls find it in the context."""
    return init_ws_context(session).emitter


def _files(session: WebsocketSession, payload: dict[str, Any]) -> list[Incoming]:
    """The uploads that this message names, taken out of Chainlit's hands."""
    names = [str(reference.get("id")) for reference in payload.get("fileReferences") or []]
    found = [session.files.pop(name) for name in names if name in session.files]
    return [Incoming(str(file["name"]), file["path"]) for file in found]


def _start(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
