"""How many, which, list, newest: counted in the catalogue, never guessed from passages.

A condition that is not understood is named and the question declined: a count that ignores half of what was asked
would be a wrong answer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from langgraph.runtime import Runtime

from aegis.scope import Scope
from agents.retrieve import document_filter
from agents.state import Context, State, token
from agents.topic import content_words, listed
from retrieval.catalogue import DocumentEntry, DocumentFilter

SHOWN = 20
PAGE = 500
MOST_DOCUMENTS = 20_000  # looked through for one question; beyond it only totals are told

_TYPES = {
    "PDF": ("pdf", "pdfs"),
    "Word": ("word", "docx"),
    "Markdown": ("markdown", "md"),
    "HTML": ("html", "htm", "web"),
    "text": ("txt", "plain"),
}
_MEDIA = {
    "PDF": ("application/pdf",),
    "Word": ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "application/msword"),
    "Markdown": ("text/markdown", "text/x-markdown"),
    "HTML": ("text/html", "application/xhtml+xml"),
    "text": ("text/plain",),
}
_ORDERS: Mapping[str, tuple[str, Callable[[DocumentEntry], Any], bool]] = {
    "newest": ("last added", lambda entry: entry.indexed_at, True),
    "oldest": ("added first", lambda entry: entry.indexed_at, False),
    "longest": ("longest", lambda entry: entry.chars, True),
    "shortest": ("shortest", lambda entry: entry.chars, False),
}
_ORDER_WORDS = (
    ("newest", re.compile(r"\b(?:newest|latest|most recent(?:ly)?|recent(?:ly)?|last)\b")),
    ("oldest", re.compile(r"\b(?:oldest|earliest|first)\b")),
    ("longest", re.compile(r"\b(?:longest|largest|biggest)\b")),
    ("shortest", re.compile(r"\b(?:shortest|smallest)\b")),
)
_NUMBERS = dict(
    zip(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], range(1, 11), strict=True)
)
_NAMED = re.compile(r"\b(?:called|named|titled|with the (?:name|title))\s+[\"“']?([^\"”'?]{1,120})", re.I)
_TAGGED = re.compile(
    r"\b(?:have|with|has|carry|under) (?:the )?tags? [\"“']?([\w./-]{1,60})"
    r"|\btagged(?: as| with)? [\"“']?([\w./-]{1,60})",
    re.I,
)
_PERIOD = re.compile(r"\b(today|yesterday|this week|this month|(?:in )?the last (\d{1,3}) days)\b")
_MEANT = listed(
    """
    many number count list show display enumerate name give overview total available there present access see contain
    contained hold stored indexed index indexes uploaded upload uploads added add ingested newest latest most recent
    recently last oldest earliest first longest largest biggest shortest smallest document documents doc docs file files
    source sources knowledge base corpus library collection collections database store type types format formats kind
    kinds tag tags all every different any please could
    """
)
_THINGS = (
    ("chunks", re.compile(r"\b(?:chunks?|passages?)\b")),
    ("entities", re.compile(r"\bentit(?:y|ies)\b")),
    ("facts", re.compile(r"\bfacts?\b")),
)
DECLINED = (
    "I cannot count that: I do not understand the condition “{words}”. In the catalogue I can count and list documents "
    "by type, tag, name, collection, length, and when they were added."
)


class Documents(Protocol):
    async def list_documents(
        self, scope: Scope, *, after: str = "", limit: int = 100, epoch: int | None = None
    ) -> list[DocumentEntry]: ...

    async def totals(self, scope: Scope, epoch: int | None = None) -> Mapping[str, int]: ...


class FactTotals(Protocol):
    async def totals(self, scope: Scope) -> tuple[int, int]: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A question about what is there, understood. `order` is a key of the orders; `unknown` what was not understood."""

    thing: str = "documents"
    listing: bool = False
    type: str | None = None
    tag: str | None = None
    name: str | None = None
    period: str | None = None
    order: str | None = None
    number: int = SHOWN
    groups: str | None = None  # "types", "tags" or "collections": grouped by these
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """Sets `answer`, and `abstained` when it declines."""

    documents: Documents
    facts: FactTotals
    clock: Callable[[], datetime]

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        if rows := state.get("counted"):
            return _told(runtime, rows["text"], abstained=rows["declined"])
        context = runtime.context
        wanted = understood(state["standalone"])
        if wanted.unknown:
            return _told(runtime, DECLINED.format(words=" ".join(wanted.unknown)), abstained=True)
        scope = context.scope.narrowed(context.filters.get("collection"))
        epoch = state.get("epoch", context.known_at)
        if wanted.thing != "documents":
            return _told(runtime, await self._total(scope, epoch, wanted.thing))
        total = (await self.documents.totals(scope, epoch))["documents"]
        if total > MOST_DOCUMENTS:
            text = f"There are {total} documents, too many to look through for one answer; narrow it by a collection."
            return _told(runtime, text)
        entries = await self._entries(scope, epoch, document_filter(context.filters))
        text = answer(wanted, entries, total, self.clock())
        listed = [entry.id for entry in entries if f"- {entry.title} (" in text] if wanted.listing else []
        return {**_told(runtime, text), "named": listed}

    async def _total(self, scope: Scope, epoch: int | None, thing: str) -> str:
        if thing == "chunks":
            totals = await self.documents.totals(scope, epoch)
            return f"There are {_number(totals['chunks'], 'chunk')} of {_number(totals['documents'], 'document')}."
        entities, facts = await self.facts.totals(scope)
        return f"Graph memory holds {_number(entities, 'entity', 'entities')} and {_number(facts, 'fact')}."

    async def _entries(self, scope: Scope, epoch: int | None, condition: DocumentFilter) -> list[DocumentEntry]:
        found: list[DocumentEntry] = []
        page = await self.documents.list_documents(scope, limit=PAGE, epoch=epoch)
        while page:
            found += [entry for entry in page if _passes(entry, condition)]
            page = await self.documents.list_documents(scope, after=page[-1].id, limit=PAGE, epoch=epoch)
        return found


def understood(question: str) -> Wanted:
    """Every word that says something must belong to a condition that is understood; the rest is `unknown`."""
    text = " ".join(question.lower().replace("’", "'").split()).rstrip("?.! ")
    named, tagged, period = _NAMED.search(question), _TAGGED.search(question), _PERIOD.search(text)
    rest = text
    for match in (named, tagged, period):
        rest = rest.replace(match[0].lower(), " ") if match else rest
    words = content_words(rest)
    kind = next((kind for kind, spelt in _TYPES.items() if any(word in spelt for word in words)), None)
    order = next((order for order, pattern in _ORDER_WORDS if pattern.search(rest)), None)
    spelt = {word for known in _TYPES.values() for word in known}
    counted = {word for word in words if word in _NUMBERS or word.isdigit()}
    thing = next((thing for thing, pattern in _THINGS if pattern.search(rest)), "documents")
    ignored = (
        _MEANT
        | spelt
        | counted
        | {"chunk", "chunks", "passage", "passages", "entity", "entities", "fact", "facts", "graph"}
    )
    return Wanted(
        thing=thing,
        listing=not re.search(r"\b(?:how many|count|number of)\b", rest),
        type=kind,
        tag=next((group for group in tagged.groups() if group), None) if tagged else None,
        name=named[1].strip() if named else None,
        period=period[0] if period else None,
        order=order,
        number=_how_many(rest, order),
        groups=_groups(rest),
        unknown=tuple(word for word in words if word not in ignored),
    )


def _how_many(text: str, order: str | None) -> int:
    for word in re.findall(r"\w+", text):
        if word.isdecimal() or word in _NUMBERS:
            return max(1, min(SHOWN, int(word[:9]) if word.isdecimal() else _NUMBERS[word]))
    if order is None:
        return SHOWN
    return 5 if re.search(r"\b(?:documents|docs|files|pdfs|uploads|sources)\b", text) else 1


def _groups(text: str) -> str | None:
    if re.search(r"\b(?:types?|formats?|kinds?)\b", text):
        return "types"
    if re.search(r"\b(?:which|what|list|show|all|how many)\b.*\btags\b", text):
        return "tags"
    return "collections" if re.search(r"\bcollections\b", text) else None


def answer(wanted: Wanted, entries: Sequence[DocumentEntry], total: int, now: datetime) -> str:
    if wanted.groups:
        return _grouped(wanted.groups, entries)
    matching = [entry for entry in entries if _matches(wanted, entry, now)]
    counted = _counted(wanted, len(matching), total)
    if not matching or not wanted.listing:
        return counted
    if wanted.order:
        return _ordered(wanted, matching, counted)
    shown = sorted(matching, key=lambda entry: entry.title.lower())[: wanted.number]
    more = f"\n… and {len(matching) - len(shown)} more." if len(matching) > len(shown) else ""
    return f"{counted[:-1]}:\n{_lines(shown)}{more}"


def _ordered(wanted: Wanted, matching: Sequence[DocumentEntry], counted: str) -> str:
    words, key, descending = _ORDERS[wanted.order or "newest"]
    chosen = sorted(matching, key=lambda entry: (key(entry), entry.id), reverse=descending)[: wanted.number]
    which = "one" if len(chosen) == 1 else str(len(chosen))
    return f"{counted} The {which} {words}:\n{_lines(chosen)}"


def _grouped(groups: str, entries: Sequence[DocumentEntry]) -> str:
    if groups == "types":
        counts = Counter(type_of(entry.media_type) for entry in entries)
    elif groups == "tags":
        counts = Counter(tag for entry in entries for tag in entry.tags)
    else:
        counts = Counter(entry.collection for entry in entries)
    if not counts:
        return f"There are no {groups}, counting {_number(len(entries), 'document')}."
    lines = "\n".join(f"- {name}: {_number(count, 'document')}" for name, count in counts.most_common(SHOWN))
    return f"Counting {_number(len(entries), 'document')}, there are these {groups}:\n{lines}"


def _counted(wanted: Wanted, count: int, total: int) -> str:
    kind = f"{wanted.type} document" if wanted.type else "document"
    condition = "".join(
        text
        for text in (
            f" with the tag “{wanted.tag}”" if wanted.tag else "",
            f" with “{wanted.name}” in the name" if wanted.name else "",
            f" added {wanted.period}" if wanted.period else "",
        )
    )
    narrowed = f" (of {total} in all)" if (wanted.type or condition) and count != total else ""
    verb = "is" if count == 1 else "are"
    return f"There {verb} {_number(count, kind) if count else f'no {kind}s'}{condition}{narrowed}."


def _matches(wanted: Wanted, entry: DocumentEntry, now: datetime) -> bool:
    return (
        (wanted.type is None or type_of(entry.media_type) == wanted.type)
        and (wanted.tag is None or wanted.tag.lower() in (tag.lower() for tag in entry.tags))
        and (wanted.name is None or wanted.name.lower() in f"{entry.title}\n{entry.source}".lower())
        and (wanted.period is None or _within(entry.indexed_at, wanted.period, now))
    )


def _within(moment: datetime, period: str, now: datetime) -> bool:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if days := re.search(r"\d+", period):
        return moment >= now - timedelta(days=int(days[0]))
    if period == "yesterday":
        return today - timedelta(days=1) <= moment < today
    start = {"today": today, "this week": today - timedelta(days=today.weekday()), "this month": today.replace(day=1)}
    return moment >= start[period]


def _passes(entry: DocumentEntry, condition: DocumentFilter) -> bool:
    dated = entry.dated
    return (
        (condition.source is None or entry.source == condition.source)
        and (condition.type is None or condition.type in (entry.media_type, type_of(entry.media_type).lower()))
        and all(tag in entry.tags for tag in condition.tags)
        and (condition.date_from is None or (dated is not None and dated >= condition.date_from))
        and (condition.date_to is None or (dated is not None and dated <= condition.date_to))
    )


def type_of(media_type: str) -> str:
    return next((name for name, media in _MEDIA.items() if media_type in media), media_type)


def _lines(entries: Sequence[DocumentEntry]) -> str:
    return "\n".join(
        f"- {entry.title} (added {entry.indexed_at:%Y-%m-%d}, {_place(entry.source)})" for entry in entries
    )


def _place(source: str) -> str:
    return source.removeprefix("upload:").rsplit("/", 1)[-1]


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _told(runtime: Runtime[Context], text: str, *, abstained: bool = False) -> dict[str, Any]:
    runtime.stream_writer(token(text))
    return {"answer": text, "abstained": abstained, "citations": []}
