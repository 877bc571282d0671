"""What went with a conversation that was deleted on the page, told once to whoever deleted it.

Chainlit's own route answers a deletion without a body, so the page asks for the receipt afterwards (`talks.js`).
"""

from __future__ import annotations

from collections import OrderedDict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from memory.conversations import Conversation, Receipt
from ui import viewer

MOST = 100  # people with a receipt that they have not seen

_waiting: OrderedDict[str, list[str]] = OrderedDict()


def keep(user: str, conversation: Conversation, receipt: Receipt) -> None:
    _waiting.setdefault(user, []).append(worded(conversation, receipt))
    _waiting.move_to_end(user)
    while len(_waiting) > MOST:
        _waiting.popitem(last=False)


def taken(user: str) -> list[str]:
    return _waiting.pop(user, [])


async def receipts(_: Request) -> Response:
    told = taken((await viewer.scope()).user)
    return JSONResponse({"receipts": told}, headers={"Cache-Control": "no-store"})


def worded(conversation: Conversation, receipt: Receipt) -> str:
    counts = {"turns": receipt.turns, "archive files": receipt.archives, **receipt.further}
    told = [_counted(count, name) for name, count in counts.items() if count or name != "marks"]
    return f"“{conversation.title}” is erased: {', '.join(told)}."


def _counted(count: int, names: str) -> str:
    return f"1 {names.removesuffix('s')}" if count == 1 else f"{count} {names}"
