"""Mail: headers that matter, the text, attached messages; attachments are listed, not read."""

from __future__ import annotations

from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from typing import Any

from aegis.errors import UnreadableDocument
from retrieval.loaders import html
from retrieval.loaders.charset import decode
from retrieval.loaders.cleaning import one_line
from retrieval.loaders.document import Reading
from retrieval.loaders.draft import Draft

MAX_NESTED = 20  # messages in all
MAX_DEPTH = 5
MAX_PARTS = 1_000
_SHOWN = ("From", "To", "Cc", "Date")


def read(data: bytes) -> Reading:
    message = BytesParser(policy=policy.default).parsebytes(data)
    if not (message.get("From") or message.get("Subject") or message.get("Date")):
        raise UnreadableDocument("The file has no mail headers (From, Subject, Date). Save the message as .eml again.")
    draft = Draft()
    _Mail(draft).write(message, 0)
    return Reading(
        draft.text,
        _header(message, "Subject") or None,
        pages=tuple(draft.pages),
        headings=tuple(draft.headings),
        dated=_date(message),
    )


class _Mail:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._messages = 0
        self._parts = 0

    def write(self, message: Any, depth: int) -> None:
        self._messages += 1
        if self._messages > MAX_NESTED or depth > MAX_DEPTH:
            self._draft.add(f"Attached message (not read): {_header(message, 'Subject')}")
            return
        self._draft.page("message" if depth == 0 else f"attached message {self._messages - 1}")
        self._draft.heading(depth + 1, _header(message, "Subject") or "Message")
        self._draft.add("\n".join(f"{name}: {text}" for name in _SHOWN if (text := _header(message, name))))
        body = message.get_body(("plain", "html")) if isinstance(message, EmailMessage) else None
        if body is not None:
            self._body(body)
        for part in message.iter_attachments() if message.is_multipart() else ():
            self._attachment(part, depth)

    def _body(self, part: Any) -> None:
        text = _text(part)
        if part.get_content_type() == "text/html":
            self._draft.take(html.read_text(text))
        else:
            self._draft.add(text)

    def _attachment(self, part: Any, depth: int) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise UnreadableDocument(f"The message has more than {MAX_PARTS:,} parts.")
        if part.get_content_type() == "message/rfc822" and part.is_multipart():
            for nested in part.get_payload():
                self.write(nested, depth + 1)
            return
        name = one_line(part.get_filename() or "")
        if name:
            self._draft.add(f"Attachment: {name} ({part.get_content_type()})", 1)


def _text(part: Any) -> str:
    """Decoded as the part says, else as it can be."""
    payload = part.get_payload(decode=True) or b""
    return decode(payload, part.get_content_charset()) if payload else ""


def _header(message: Any, name: str) -> str:
    return one_line(str(message.get(name, "")))[:2_000]


def _date(message: Any) -> datetime | None:
    try:
        moment = parsedate_to_datetime(str(message.get("Date", "")))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, TypeError):
        return None
