"""Chainlit's data layer over our conversation store: threads are conversations, with the same ids.

Chainlit also offers to keep steps, elements and messages; a turn is committed by the run that answers it, so those
offers are declined, and everything the page shows of the past is made from the turns (`render.py`).
"""

from __future__ import annotations

from typing import Any, cast

from chainlit.data.base import BaseDataLayer
from chainlit.types import Feedback, PageInfo, PaginatedResponse, Pagination, ThreadDict, ThreadFilter
from chainlit.user import PersistedUser, User

from aegis.errors import NotFound
from memory.conversations import Conversation, Conversations
from ui import render, viewer
from ui.ending import delete

LAST_TURNS = 200  # of a conversation, shown when it is opened
MOST_THREADS = 100
_EPOCH = "1970-01-01T00:00:00Z"


class History(BaseDataLayer):
    async def get_user(self, identifier: str) -> PersistedUser | None:
        return PersistedUser(id=identifier, identifier=identifier, createdAt=_EPOCH)

    async def create_user(self, user: User) -> PersistedUser | None:
        return await self.get_user(user.identifier)

    async def list_threads(self, pagination: Pagination, filters: ThreadFilter) -> PaginatedResponse[ThreadDict]:
        limit = min(max(pagination.first, 1), MOST_THREADS)
        scope = await viewer.scope()
        found = await _kept().list(
            scope, before=pagination.cursor or "", limit=limit + 1, holding=(filters.search or "").strip()
        )
        page = list(found[:limit])
        info = PageInfo(
            hasNextPage=len(found) > limit,
            startCursor=page[0].cursor if page else None,
            endCursor=page[-1].cursor if page else None,
        )
        return PaginatedResponse(pageInfo=info, data=[_thread(one) for one in page])

    async def get_thread(self, thread_id: str) -> ThreadDict | None:
        """With its steps and elements; `metadata.running` names the turns that are still being answered."""
        scope = await viewer.scope()
        try:
            thread = _thread(await _kept().get(scope, thread_id))
        except NotFound:
            return None
        turns = await _kept().history(scope, thread_id, last=LAST_TURNS)
        recalled = await viewer.services().recalls.of(scope, [turn.id for turn in turns])
        for turn in turns:
            steps, elements = render.turn_shown(turn, scope.user, recalled.get(turn.id))
            thread["steps"] += cast(Any, steps)
            cast(list[Any], thread["elements"]).extend(elements)
            if turn.state == "running":
                cast(dict[str, Any], thread["metadata"])["running"].append(turn.id)
        return thread

    async def get_thread_author(self, thread_id: str) -> str:
        """Empty where there is no such conversation of this viewer's."""
        try:
            return (await _kept().get(await viewer.scope(), thread_id)).owner
        except NotFound:
            return ""

    async def update_thread(
        self,
        thread_id: str,
        name: str | None = None,
        user_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        tags: list[str] | None = None,
    ) -> None:
        """Rename. Chainlit also calls this to introduce a thread (with `user_id`) and to keep a session's values."""
        if name is not None and user_id is None:
            await _kept().rename(await viewer.scope(), thread_id, name)

    async def delete_thread(self, thread_id: str) -> None:
        await delete(await viewer.scope(), thread_id, _kept(), viewer.answering())

    async def upsert_feedback(self, feedback: Feedback) -> str:
        """`forId` is the run's step, whose id is the turn's."""
        said = {"value": 1 if feedback.value else -1, "comment": feedback.comment or ""}
        await _kept().feedback(await viewer.scope(), feedback.forId, said)
        return feedback.forId

    async def delete_feedback(self, feedback_id: str) -> bool:
        await _kept().feedback(await viewer.scope(), feedback_id, None)
        return True

    async def build_debug_url(self) -> str:
        return ""

    async def close(self) -> None:
        """The store is closed by whoever opened it."""

    async def get_favorite_steps(self, user_id: str) -> list[Any]:
        return []

    async def get_element(self, thread_id: str, element_id: str) -> Any:
        return None

    async def create_element(self, element: Any) -> None: ...
    async def delete_element(self, element_id: str, thread_id: str | None = None) -> None: ...
    async def create_step(self, step_dict: Any) -> None: ...
    async def update_step(self, step_dict: Any) -> None: ...
    async def delete_step(self, step_id: str) -> None: ...


def _kept() -> Conversations:
    return viewer.services().conversations


def _thread(conversation: Conversation) -> ThreadDict:
    """The list is ordered by `createdAt` in the browser, by last use in the store: so that is what it says."""
    return ThreadDict(
        id=conversation.id,
        createdAt=render.moment(conversation.updated_at),
        name=conversation.title,
        userId=conversation.owner,
        userIdentifier=conversation.owner,
        tags=[],
        metadata={"running": []},
        steps=[],
        elements=[],
    )
