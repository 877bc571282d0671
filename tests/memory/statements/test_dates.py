"""Dates in sentences, seen from a Monday."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.statements.dates import dates, period

SAID = datetime(2023, 5, 8, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("I went there yesterday", "2023-05-07"),
        ("last Friday I ran", "2023-05-05"),
        ("last Monday", "2023-05-01"),
        ("on Monday", "2023-05-08"),
        ("this Friday", "2023-05-12"),
        ("two weeks ago", "2023-04-24"),
        ("a couple of days ago", "2023-05-06"),
        ("10 years ago", "2013-01-01"),
        ("last week", "2023-05-01"),
        ("last month", "2023-04-01"),
        ("letzten Freitag", "2023-05-05"),
        ("vor drei Wochen", "2023-04-17"),
        ("vorgestern", "2023-05-06"),
        ("la semaine dernière", "2023-05-01"),
        ("il y a 3 jours", "2023-05-05"),
        ("hace dos días", "2023-05-06"),
        ("el viernes pasado", "2023-05-05"),
        ("on 12 March 2020", "2020-03-12"),
        ("March 12, 2020", "2020-03-12"),
        ("on 3 June", "2023-06-03"),
        ("on 20 December", "2022-12-20"),
        ("2020-02-29", "2020-02-29"),
        ("am 12.03.2020", "2020-03-12"),
        ("since 2019", "2019-01-01"),
        ("in March 2020", "2020-03-01"),
    ],
)
def test_since(text: str, since: str) -> None:
    assert period(text, SAID)[0] == datetime.fromisoformat(f"{since}T00:00:00+00:00")


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("from 2010 to 2015", 2010, 2016),
        ("until 2015", None, 2016),
        ("before 2015", None, 2015),
        ("between us, 2015 things", None, None),
        ("in 2010 and in 2012", None, None),
        ("I have 3 cats", None, None),
        ("I may 2", None, None),
        ("2020-02-31", None, None),
    ],
)
def test_period(text: str, since: int | None, until: int | None) -> None:
    found = period(text, SAID)
    assert tuple(moment and moment.year for moment in found) == (since, until)


def test_relative_dates_need_a_moment() -> None:
    assert dates("yesterday and on 12 March") == []
    assert [date.since.year for date in dates("on 12 March 2020")] == [2020]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("0123456789-. agoMaylastdienFribfrom"), max_size=200))
def test_any_text(text: str) -> None:
    for date in dates(text, SAID):
        assert date.since < date.until
        assert 0 <= date.start < date.end <= len(text)


@pytest.mark.parametrize("text", ["1 " * 4000, "last " * 2000, "a " * 4000 + "days ago", "May 1 " * 1300])
def test_hostile_text_is_quick(text: str) -> None:
    started = time.process_time()
    dates(text, SAID)
    assert time.process_time() - started < 2
