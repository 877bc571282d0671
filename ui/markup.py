"""Text made safe for Chainlit's markdown: no HTML, links, images or directives but our own citation marks.

Sentences of documents are shown as they stand (`plain`). A language model may format (`formatted`): emphasis, lists,
tables, code; whatever could fetch, link or embed is shown as text, because a document can make a model write it.
Raw HTML is off in the page, and its content policy lets nothing load from elsewhere; this is the first of three walls.
"""

from __future__ import annotations

import re

# Addresses become code: shown in full and copyable, but nothing that a click follows.
_ADDRESS = (
    r"(?:(?:https?|ftp|file|data|javascript|mailto|xmpp):|www\.)[^\s`<>\[\]|]+|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
)
_CITATION = r"\[(?P<marker>\d{1,3})\]"
_CODE = r"(?<!`)(?P<ticks>`+)(?!`)(?P<code>[^\n|]+?)(?<!`)(?P=ticks)(?!`)"
_PLAIN = re.compile(rf"{_CITATION}|(?P<address>{_ADDRESS})", re.IGNORECASE)
_FORMATTED = re.compile(rf"{_CODE}|{_CITATION}|(?P<address>{_ADDRESS})", re.IGNORECASE)
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_DANGEROUS = re.compile(r"([\[\]<>`~\\&$]|:(?=[A-Za-z:])|!(?=\[))")
_INVISIBLE = re.compile("[\u200b\u202a-\u202e\u2066-\u2069]")  # Chainlit's cursor, and what turns text around
_SEAM = "\u200b"  # between parts; `_clean` left none in the text
_SIDE_BY_SIDE = re.compile(f"`{_SEAM}`")
_OPENING = re.compile(r"```[\w+#.-]*[ ]*")
_CLOSING = re.compile(r" {0,3}`{3,}[ \t]*")


def plain(text: str, cite: str = "") -> str:
    """Shown exactly as it is. With `cite`, `[n]` becomes a mark that opens citation n of that turn."""
    return _rendered(_PLAIN, _PUNCTUATION, _clean(text).replace("\t", " "), cite)


def formatted(text: str, cite: str = "") -> str:
    """A model's answer with the harmless part of its markdown. Fences count only where no reading could differ."""
    lines, fenced = list[str](), False
    for line in _clean(text).split("\n"):
        fence = (_CLOSING if fenced else _OPENING).fullmatch(line) is not None
        lines.append(line if fence or fenced else _rendered(_FORMATTED, _DANGEROUS, line, cite))
        fenced = fenced != fence
    return "\n".join(lines)


def _clean(text: str) -> str:
    return _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _rendered(inert: re.Pattern[str], escaped: re.Pattern[str], text: str, cite: str) -> str:
    parts, position = list[str](), 0
    for found in inert.finditer(text):
        parts += [escaped.sub(r"\\\1", text[position : found.start()]), _token(found, cite)]
        position = found.end()
    parts.append(escaped.sub(r"\\\1", text[position:]))
    # Back quotes that come to stand side by side would be read as one longer mark.
    return _SIDE_BY_SIDE.sub("` `", _SEAM.join(part for part in parts if part)).replace(_SEAM, "")


def _token(found: re.Match[str], cite: str) -> str:
    marker = found["marker"]
    if marker is not None:
        return f"[{marker}](#cite-{cite}-{marker})" if cite else rf"\[{marker}\]"
    if found["address"] is not None:
        return f"`{found['address']}`"
    return found[0]
