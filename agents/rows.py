"""How many rows of a table match, and which: counted over every row of it, never guessed from passages.

Only where each word of the question is understood: as the table's name, a column, or a value that stands in one column.
A comparison or a value that stands in several columns is named, and the question declined: a count that ignores half of
what was asked would be a wrong answer. A question that means no table here is none of ours.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from aegis.scope import Scope
from agents.topic import content_words, listed
from inference.words import stem
from retrieval.catalogue import DocumentEntry

MOST_TABLES = 50
MOST_CHARS = 5_000_000  # of all tables together that one question looks through
PAGE = 500
SHOWN = 20
_KINDS = ("csv", "spreadsheet", "tab-separated")

_COUNTS = re.compile(r"\b(?:how many|number of|count)\b", re.I)
_ASKS = re.compile(
    r"\b(?:how many|number of|count|list|show|which|what)\b.*"
    r"(?:\b(?:rows?|records?|entries)\b|\b(?:sheets?|table|spreadsheet|workbook)\b|\.?\b(?:csv|tsv|xlsx?|ods)\b)",
    re.I | re.S,
)
_COMPARES = re.compile(
    r"\b(?:more|less|fewer|greater|larger|smaller|higher|lower|than|over|under|above|below|at least|at most|before|"
    r"after|between|since|until|not|no|without|except|or|sum|total|average|mean|most|least|highest|lowest)\b",
    re.I,
)
_MEANT = listed(
    """
    many number count list show display name give rows row records record entries entry sheet sheets table spreadsheet
    workbook file csv tsv xlsx xls ods excel all every with where have has having had are is were whose value values
    column columns set equal equals of in which what please there exist marked
    """
)


class Tables(Protocol):
    async def list_documents(
        self, scope: Scope, *, after: str = "", limit: int = 100, epoch: int | None = None
    ) -> list[DocumentEntry]: ...

    async def text(self, scope: Scope, document_id: str, version_id: str | None = None) -> str: ...


@dataclass(frozen=True, slots=True)
class Counted:
    """`declined` names what was not understood; `text` says what was counted, in these documents."""

    text: str
    declined: bool = False
    documents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """`rows`: by column; `lines`: as they stand in the text."""

    document_id: str
    title: str
    rows: Sequence[Mapping[str, str]]
    lines: Sequence[str]
    names: frozenset[str]  # words of its title and of its file's name


def asks_for_rows(question: str) -> bool:
    return bool(_ASKS.search(question))


@dataclass(frozen=True, slots=True)
class RowCounter:
    tables: Tables

    async def __call__(self, question: str, scope: Scope, epoch: int | None) -> Counted | None:
        """None where no table is meant: none is here, or the question speaks of things that no table has."""
        if not asks_for_rows(question):
            return None
        found = [
            replace(counted, documents=(table.document_id,))
            for table in await self._meant(question, scope, epoch)
            if (counted := count(question, table))
        ]
        if len(found) < 2:
            return found[0] if found else None
        whole = [each for each in found if not each.declined]
        if not whole:
            return found[0]
        counted_in = tuple(document for each in whole for document in each.documents)
        return Counted("\n".join(each.text for each in whole), documents=counted_in)

    async def _meant(self, question: str, scope: Scope, epoch: int | None) -> list[Table]:
        """Those that the question names, or all."""
        entries = [entry async for entry in self._entries(scope, epoch)]
        named = [entry for entry in entries if _named(entry) & set(_stems(question))]
        chosen, left = list[Table](), MOST_CHARS
        for entry in (named or entries)[:MOST_TABLES]:
            left -= entry.chars
            if left < 0:
                break
            chosen.append(parsed(entry, await self.tables.text(scope, entry.id, entry.version_id)))
        return chosen

    async def _entries(self, scope: Scope, epoch: int | None) -> AsyncGenerator[DocumentEntry]:
        page = await self.tables.list_documents(scope, limit=PAGE, epoch=epoch)
        while page:
            for entry in page:
                if any(kind in entry.media_type for kind in _KINDS):
                    yield entry
            page = await self.tables.list_documents(scope, after=page[-1].id, limit=PAGE, epoch=epoch)


def parsed(entry: DocumentEntry, text: str) -> Table:
    """Rows as the loader writes them: `column: value | column: value`, a line each."""
    rows, lines = list[Mapping[str, str]](), list[str]()
    for line in text.split("\n"):
        cells = dict(_cells(line))
        if cells:
            rows.append(cells)
            lines.append(line)
    return Table(entry.id, entry.title, rows, lines, _named(entry))


def count(question: str, table: Table) -> Counted | None:
    """None where a word of the question is neither the table's name nor a column nor a value of it."""
    columns = {column: frozenset(_stems(column)) for row in table.rows for column in row}
    wanted = _conditions(question, table, columns)
    if wanted is None or not table.rows:
        return None
    if match := _COMPARES.search(question):
        return Counted(f"I count rows by values that are equal, and do not understand “{match[0]}” here.", True)
    for word, places in wanted.items():
        if len(places) > 1:
            named = " and ".join(f"“{place}”" for place in sorted(places))
            return Counted(f"“{word}” stands in the columns {named} of {table.title}; say which is meant.", True)
    matching = [
        number
        for number, row in enumerate(table.rows)
        if all(word in _stems(row.get(place, "")) for word, (place,) in wanted.items())
    ]
    return Counted(_told(question, table, wanted, matching))


def _conditions(
    question: str, table: Table, columns: Mapping[str, frozenset[str]]
) -> dict[str, tuple[str, ...]] | None:
    """Value -> the columns where it stands: those that the question names, where it names any that hold it."""
    words = [stem(word) for word in _said(question)]
    spoken = {column for column, parts in columns.items() if parts and parts <= set(words) - table.names}
    heads = frozenset[str]().union(*(columns[column] for column in spoken)) if spoken else frozenset[str]()
    places = _places(table, set(words) - heads - table.names)
    wanted: dict[str, tuple[str, ...]] = {}
    for word in words:
        if word in heads or word in table.names:
            continue
        if word not in places:
            return None
        wanted[word] = tuple(sorted(places[word] & spoken or places[word]))
    return wanted


def _places(table: Table, words: set[str]) -> dict[str, set[str]]:
    """Where each word stands as part of a value."""
    found = defaultdict[str, set[str]](set)
    for row in table.rows if words else ():
        for column, value in row.items():
            for word in words.intersection(_stems(value)):
                found[word].add(column)
    return found


def _said(question: str) -> list[str]:
    """Words that say something, in lower case; a number, and a capital letter by itself, say something."""
    meant = set(content_words(question))
    found = re.findall(r"[^\W_]+", question)
    kept = (word.lower() for word in found if word.lower() in meant or word.isdigit() or _letter(word))
    return [word for word in dict.fromkeys(kept) if word not in _MEANT and not _COMPARES.fullmatch(word)]


def _letter(word: str) -> bool:
    return len(word) == 1 and word.isupper() and word not in "AI"


def _told(question: str, table: Table, wanted: Mapping[str, tuple[str, ...]], matching: Sequence[int]) -> str:
    spelt = {stem(word): word for word in _said(question)}
    condition = " and ".join(f"“{spelt[word]}” in the column “{place}”" for word, (place,) in wanted.items())
    rows = "row has" if len(matching) == 1 else "rows have"
    counted = f"{len(matching)} of {len(table.rows)} {rows} {condition}" if wanted else f"{len(table.rows)} rows"
    head = f"Counting every row of {table.title}: {counted}."
    if _COUNTS.search(question) or not matching:
        return head
    shown = "\n".join(f"- {table.lines[number]}" for number in matching[:SHOWN])
    more = f"\n… and {len(matching) - SHOWN} more." if len(matching) > SHOWN else ""
    return f"{head}\n{shown}{more}"


def _cells(line: str) -> Iterator[tuple[str, str]]:
    for part in line.split(" | "):
        column, colon, value = part.partition(": ")
        if colon and column:
            yield column, value


def _named(entry: DocumentEntry) -> frozenset[str]:
    file = entry.source.removeprefix("upload:").replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
    return frozenset(_stems(f"{entry.title} {file}")) - {stem(word) for word in _MEANT}


def _stems(text: str) -> list[str]:
    return [stem(word) for word in re.findall(r"[^\W_]+", text.casefold())]
