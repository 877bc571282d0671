"""Dates that a sentence states: absolute ones, and relative ones seen from the moment it was said. English, German,
French and Spanish words; all others are no dates. Pure; a sentence takes some ten microseconds.
"""
# ruff: noqa: E501 - tables of patterns are read by the line

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dateutil.relativedelta import relativedelta

_MONTHS = """
january|januar|janvier|enero february|februar|février|fevrier|febrero march|märz|maerz|mars|marzo april|avril|abril
may|mai|mayo june|juni|juin|junio july|juli|juillet|julio august|août|aout|agosto september|septembre|septiembre
october|oktober|octobre|octubre november|novembre|noviembre december|dezember|décembre|decembre|diciembre
"""
_DAYS = """
monday|montag|lundi|lunes tuesday|dienstag|mardi|martes wednesday|mittwoch|mercredi|miércoles|miercoles
thursday|donnerstag|jeudi|jueves friday|freitag|vendredi|viernes saturday|samstag|sonnabend|samedi|sábado|sabado
sunday|sonntag|dimanche|domingo
"""
_NUMBERS_TEXT = """
a|an|one|einem|einer|ein|un|une|una|uno two|zwei|deux|dos|couple three|drei|trois|tres four|vier|quatre|cuatro
five|fünf|cinq|cinco six|sechs|seis seven|sieben|sept|siete eight|acht|huit|ocho nine|neun|neuf|nueve ten|zehn|dix|diez
"""
_UNITS_TEXT = """
days day|days|tag|tage|tagen|jour|jours|día|días|dia|dias
weeks week|weeks|woche|wochen|semaine|semaines|semana|semanas
months month|months|monat|monate|monaten|mois|mes|meses
years year|years|jahr|jahre|jahren|an|ans|année|année|año|años
"""


def _numbered(listed: str, first: int) -> dict[str, int]:
    return {word: number for number, group in enumerate(listed.split(), first) for word in group.split("|")}


_SHORT_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
MONTHS = _numbered(_MONTHS, 1) | {
    short: number for number, short in enumerate(_SHORT_MONTHS.split(), 1) if short not in ("may", "mar", "dec")
}
DAYS = _numbered(_DAYS, 0)
_NUMBERS = _numbered(_NUMBERS_TEXT, 1)
_UNITS = {word: line.split()[0] for line in _UNITS_TEXT.strip().splitlines() for word in line.split()[1].split("|")}


def _either(words: dict[str, int] | dict[str, str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_M, _D, _N, _U = _either(MONTHS), _either(DAYS), _either(_NUMBERS), _either(_UNITS)
_LAST = r"last|past|previous|letzte[nrsm]?|vorige[nrsm]?|vergangene[nrsm]?"
_NEXT = r"next|coming|nächste[nrsm]?|kommende[nrsm]?"
_THIS = r"this|diese[nrsm]?"
_AFTER = r"dernière|dernier|passée|passé|pasada|pasado"
_FAR = {
    "the day before yesterday": -2, "vorgestern": -2, "avant-hier": -2, "anteayer": -2, "antes de ayer": -2,
    "yesterday": -1, "last night": -1, "gestern": -1, "hier": -1, "ayer": -1, "anoche": -1,
    "today": 0, "this morning": 0, "tonight": 0, "heute": 0, "aujourd'hui": 0, "hoy": 0,
    "the day after tomorrow": 2, "übermorgen": 2, "tomorrow": 1, "demain": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StatedDate:
    """The stretch [since, until) that the words text[start:end] mean; `relative` to when they were said."""

    since: datetime
    until: datetime
    start: int
    end: int
    relative: bool = False


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Reading = Callable[[re.Match[str], datetime], tuple[datetime, datetime] | None]


def _day(year: int, month: int, day: int = 1) -> datetime | None:
    try:
        return datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return None


def _days(begin: datetime | None, **length: int) -> tuple[datetime, datetime] | None:
    if begin is None:
        return None
    try:
        return begin, begin + relativedelta(**(length or {"days": 1}))  # pyright: ignore[reportArgumentType]
    except (ValueError, OverflowError):
        return None


def _iso(match: re.Match[str], _said: datetime) -> tuple[datetime, datetime] | None:
    return _days(_day(int(match[1]), int(match[2]), int(match[3])))


def _dotted(match: re.Match[str], _said: datetime) -> tuple[datetime, datetime] | None:
    return _days(_day(int(match[3]), int(match[2]), int(match[1])))


def _named(match: re.Match[str], said: datetime) -> tuple[datetime, datetime] | None:
    """`12 March 2020`, `March 12`: without a year the one nearest to when it was said."""
    month, day = MONTHS[match["month"].lower()], int(match["day"])
    if match["month"] in ("may", "march", "mars"):
        return None  # small letters: words, not months
    if match["year"]:
        return _days(_day(int(match["year"]), month, day))
    near = [found for year in (-1, 0, 1) if (found := _day(said.year + year, month, day))]
    return _days(min(near, key=lambda moment: abs(moment - said))) if near else None


def _month(match: re.Match[str], _said: datetime) -> tuple[datetime, datetime] | None:
    return _days(_day(int(match["year"]), MONTHS[match["month"].lower()]), months=1)


def _year(match: re.Match[str], _said: datetime) -> tuple[datetime, datetime] | None:
    return _days(_day(int(match["year"]), 1), years=1)


def _far(match: re.Match[str], said: datetime) -> tuple[datetime, datetime] | None:
    words = " ".join(match.group().lower().split()).replace("’", "'")
    return _days(_midnight(said) + timedelta(days=_FAR[words]))


def _ago(match: re.Match[str], said: datetime) -> tuple[datetime, datetime] | None:
    count, unit = match["count"].lower().removesuffix(" of").split()[-1], _UNITS[match["unit"].lower()]
    number = int(count) if count.isdigit() else _NUMBERS[count]
    if number > 5000:
        return None
    begin = _days(_midnight(said), **{unit: -number})
    return None if begin is None else _stretch(begin[1], unit)


def _unit(shift: int) -> _Reading:
    """`last week`, `this month`, `next year`."""

    def read(match: re.Match[str], said: datetime) -> tuple[datetime, datetime] | None:
        unit = _UNITS[match["unit"].lower()]
        moved = _days(_midnight(said), **{unit: shift})
        return None if moved is None else _stretch(moved[1], unit)

    return read


def _weekday(shift: int) -> _Reading:
    """`last Friday`: the one before the day it was said; `next`, `this`: the one after; `on Friday`: the last one."""

    def read(match: re.Match[str], said: datetime) -> tuple[datetime, datetime] | None:
        today, day = _midnight(said), DAYS[match["day"].lower()]
        ahead = (day - today.weekday()) % 7
        if shift >= 0:
            return _days(today + timedelta(days=ahead or 7 * shift))
        return _days(today + timedelta(days=ahead - 7))

    return read


def _recent(match: re.Match[str], said: datetime) -> tuple[datetime, datetime] | None:
    """`on Friday`, `since Friday`: today, if that is a Friday, else the last one."""
    today = _midnight(said)
    return _days(today - timedelta(days=(today.weekday() - DAYS[match["day"].lower()]) % 7))


def _midnight(said: datetime) -> datetime:
    return said.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _stretch(moment: datetime, unit: str) -> tuple[datetime, datetime] | None:
    """The day, or the whole week, month or year that it is in."""
    if unit == "weeks":
        moment -= timedelta(days=moment.weekday())
    elif unit == "months":
        moment = moment.replace(day=1)
    elif unit == "years":
        moment = moment.replace(month=1, day=1)
    return _days(moment, **{unit: 1})


_DATE_WORDS: tuple[tuple[str, _Reading, bool], ...] = (
    (r"(?<![\d-])(\d{4})-(\d\d)-(\d\d)(?![\d-])", _iso, False),
    (r"(?<![\d.])(\d{1,2})\.(\d{1,2})\.(\d{4})(?![\d.]*\d)", _dotted, False),
    (
        rf"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th|er|\.)?(?: of| de)? (?P<month>{_M})\.?"
        r"(?:,? (?:de )?(?P<year>[12]\d{3}))?\b",
        _named,
        False,
    ),
    (rf"\b(?P<month>{_M})\.? (?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:,? (?P<year>[12]\d{{3}}))?\b(?!\d)", _named, False),
    (rf"\b(?P<month>{_M})\.?,? (?:of |de )?(?P<year>[12]\d{{3}})\b", _month, False),
    (
        r"\b(?:in|since|from|until|till|to|before|after|by|year|early|late|seit|ab|bis|im jahre?|en|depuis|desde|hasta) "
        r"(?P<year>1[0-9]\d{2}|20\d{2})\b(?!-)",
        _year,
        False,
    ),
    (rf"\b(?:{'|'.join(re.escape(words) for words in _FAR)})\b", _far, True),
    (rf"\b(?P<count>\d{{1,4}}|(?:a )?(?:{_N})(?: of)?) (?P<unit>{_U}) ago\b", _ago, True),
    (rf"\b(?:vor|il y a|hace) (?P<count>\d{{1,4}}|{_N}) (?P<unit>{_U})\b", _ago, True),
    (rf"\b(?:{_LAST}) (?P<day>{_D})\b", _weekday(-1), True),
    (rf"\b(?P<day>{_D}) (?:{_AFTER})\b", _weekday(-1), True),
    (rf"\b(?:{_THIS}) (?P<day>{_D})\b", _weekday(0), True),
    (rf"\b(?:{_NEXT}) (?P<day>{_D})\b", _weekday(1), True),
    (rf"\b(?:on|since|am|seit) (?P<day>{_D})\b", _recent, True),
    (rf"\b(?:{_LAST}) (?P<unit>{_U})\b", _unit(-1), True),
    (rf"\b(?P<unit>{_U}) (?:{_AFTER})\b", _unit(-1), True),
    (rf"\b(?:{_THIS}) (?P<unit>{_U})\b", _unit(0), True),
    (rf"\b(?:{_NEXT}) (?P<unit>{_U})\b", _unit(1), True),
)
_DATES = tuple((re.compile(words, re.IGNORECASE), reading, relative) for words, reading, relative in _DATE_WORDS)
_UNTIL = re.compile(r"\b(?:until|till|to|before|bis|jusqu'(?:à|en)|hasta|-|–)\s*(?:the )?$", re.IGNORECASE)
_DATED = re.compile(r"\d|\b(?:" + "|".join((_D, _U, *map(re.escape, _FAR))) + r")\b", re.IGNORECASE)
FIRST_YEAR, LAST_YEAR = 1000, 2999


def dates(text: str, said: datetime | None = None) -> list[StatedDate]:
    """All dates in order, none inside another. Without `said` the absolute ones only."""
    if not _DATED.search(text):
        return []
    found: list[StatedDate] = []
    for words, reading, relative in _DATES:
        if relative and said is None:
            continue
        for match in words.finditer(text):
            if any(match.start() < one.end and one.start < match.end() for one in found):
                continue
            if said is None and "year" in words.groupindex and not match["year"]:
                continue
            stretch = reading(match, said or _EPOCH)
            if stretch and FIRST_YEAR <= stretch[0].year <= LAST_YEAR:
                start = match.start("year") if reading is _year else match.start()
                found.append(StatedDate(*stretch, start, match.end(), relative))
    return sorted(found, key=lambda one: one.start)


def period(text: str, said: datetime | None = None) -> tuple[datetime | None, datetime | None]:
    """From when to when something is stated to have been true: `since 2019`, `until March 2020`, `from 2010 to 2015`.

    (None, None) where the sentence states no date, or several of which nobody can tell what they mean.
    """
    found = dates(text, said)
    ends = [one for one in found if _UNTIL.search(text, 0, one.start)]
    begins = [one for one in found if one not in ends]
    if len(begins) > 1 or len(ends) > 1:
        return None, None
    since = begins[0].since if begins else None
    until = _ended(text, ends[0]) if ends else None
    return (since, until) if since is None or until is None or since < until else (None, None)


def _ended(text: str, date: StatedDate) -> datetime:
    """`until 2019` includes that year, `before 2019` does not."""
    return date.since if text[: date.start].rstrip().lower().endswith("before") else date.until
