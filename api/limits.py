"""How large a request may be: its body, checked before it is read and again while it is, and a question in it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aegis.errors import TooLarge
from aegis.settings import Settings
from api.errors import refusal

INGEST_PATH = "/api/v1/retrieval/ingest"
IMPORT_PATH = "/api/v1/conversations/import"
RESTORE_PATH = "/api/v1/admin/restore"
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bytes. `upload` bounds a multipart ingest as a whole; a JSON body is parsed in one go, which must stay short."""

    json: int = MEGABYTE
    json_ingest: int = 10 * MEGABYTE
    upload: int = 101 * MEGABYTE
    conversations: int = 50 * MEGABYTE
    backup: int = 1_000_000 * MEGABYTE  # is written to disk as it comes

    def of(self, scope: Scope) -> int:
        path: str = scope["path"]
        if path == INGEST_PATH:
            return self.upload if _multipart(scope) else self.json_ingest
        if path in (IMPORT_PATH, RESTORE_PATH):
            return self.conversations if path == IMPORT_PATH else self.backup
        return self.json if path.startswith("/api/") else self.upload


def bounded(text: str, settings: Settings, field: str) -> None:
    limit = settings.chat.max_question_chars
    if len(text) > limit:
        raise TooLarge(
            f"{field} has {len(text):,} characters; at most {limit:,} are taken (AEGIS_CHAT__MAX_QUESTION_CHARS).",
            field=field,
            limit=limit,
        )


def limits_for(max_file_bytes: int) -> BodyLimits:
    """A megabyte on top for the form's other fields."""
    return BodyLimits(upload=max_file_bytes + MEGABYTE)


def _multipart(scope: Scope) -> bool:
    return any(name == b"content-type" and value.lower().startswith(b"multipart/") for name, value in scope["headers"])


class BodyTooLarge(HTTPException):
    """An HTTPException, because FastAPI turns anything else that a body raises into 400."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, _sentence(limit))


def _sentence(limit: int) -> str:
    return f"The request body is larger than the {limit:,} bytes taken here. Send less, or in several requests."


class BodyLimit:
    """Reads its limits from `app.state.limits`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        state = getattr(scope.get("app"), "state", None)
        limit = (getattr(state, "limits", None) or BodyLimits()).of(scope)
        if _stated(scope) > limit:
            await refusal(scope, 413, "too_large", _sentence(limit))(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit), send)


def _stated(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _counted(receive: Receive, limit: int) -> Receive:
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        if message["type"] == "http.request":
            total += len(message.get("body", b""))
            if total > limit:
                raise BodyTooLarge(limit)
        return message

    return counted
