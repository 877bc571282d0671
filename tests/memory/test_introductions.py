"""What a passage opens with, and its other names."""

from __future__ import annotations

import pytest

from memory.introductions import introduced


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Zimbabwe is a country in southern Africa.", {"zimbabwe"}),
        (
            "Onika Tanya Maraj (born 1982), known professionally as Nicki Minaj, is a rapper.",
            {"nicki minaj", "onika maraj"},
        ),
        ('Gian-Carla "Gia" Coppola (born January 1, 1987) is a director.', {"gia coppola", "gian-carla coppola"}),
        ("Albert III of Bavaria was a duke.", {"albert iii", "albert iii of bavaria"}),
        ('"Changed It" is a song.', {"changed it"}),
        ("Robert Adolf Stemmle( 10 June 1903 – 24 February 1974) was a director.", {"robert stemmle"}),
        ("The Rank Organisation was a British conglomerate.", {"rank organisation"}),
    ],
)
def test_names(text: str, names: set[str]) -> None:
    assert names <= set(introduced(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "it rains",
        "Yesterday we walked along the river.",
        "12 May 2020",
        "In Berlin, nobody cares.",
        "他是一名作家。",
        "\x00\n",
    ],
)
def test_no_names(text: str) -> None:
    assert introduced(text) == ()


def test_dates_are_no_names() -> None:
    assert introduced("Anna Berg (born December 8, 1982) is a painter.") == ("anna berg",)
