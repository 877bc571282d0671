"""Text that makes a careless pattern try everything: time must grow with its length, not with its square."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from agents.inventory import understood
from agents.route import classify
from agents.topic import topic
from inference.questions import asked
from inference.sentences import sentences
from memory import naming
from memory.sentences import sentences as stated
from retrieval.loaders.cleaning import clean
from retrieval.loaders.document import LoadedDocument
from retrieval.splitting import split
from ui.markup import formatted, plain

PATTERNS = (
    *"aA1 \u00a0\t._-*`[(|#\n@\u3002\u4e2d",
    *(". ", "a.", "a_", "**a", "`a ", "[a](", "| a ", "\n- ", "'a", "a@", "The a ", " is a", "aB", "e\u0301"),
)
LENGTH = 30_000  # of a document; a question may have 8,000
ASKED = 8_000
SECONDS = 1.5  # a tenth of that is usual; what grows with the square takes minutes


def _split(text: str) -> object:
    return split(LoadedDocument(text, "Title", "text/plain"), 128)


def _stated(text: str) -> object:
    return list(stated(text, 0, len(text)))


def _runs(text: str) -> object:
    return list(naming.runs(text))


DOCUMENT: tuple[Callable[[str], object], ...] = (clean, _split, sentences, _stated, _runs, plain, formatted)
QUESTION: tuple[Callable[[str], object], ...] = (topic, classify, understood, asked, naming.asked)


@pytest.mark.parametrize(
    ("read", "length"), [*((read, LENGTH) for read in DOCUMENT), *((read, ASKED) for read in QUESTION)]
)
def test_hostile_text_takes_no_longer_than_other_text(read: Callable[[str], object], length: int) -> None:
    for pattern in PATTERNS:
        text = (pattern * length)[:length]
        started = time.process_time()
        read(text)
        assert time.process_time() - started < SECONDS, f"{pattern!r} x {length}"
