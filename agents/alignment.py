"""How much of a question one sentence says, word by word: each word of the question finds its nearest in the sentence.

Where words are the same, or forms of one, they meet in full; others by the cosine of their static vectors, so that
"bought" meets "purchased" in part. A name or number meets only itself: Tuesday is near Thursday and something else.
Words count by their rarity among the sentences and by the length of their vectors, which static embeddings learn as a
weight ("the" is short, "Igoumenitsa" long); without the lengths the measure tells answers from near misses worse on
eight of nine sets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from agents.lexicon import FORMS
from inference.extractive import Candidate
from inference.words import STOP, TOKEN, content_words, stem, weight

BEFORE = 0.85  # what a word is worth that stands in the sentence before, or in a heading; .5 to 1 do as well
MOST_WORDS = 64  # of a question

Floats = NDArray[np.float32]
Nearest = Callable[[Sequence[str], Sequence[str]], tuple[Floats, Floats]]
"""Words, texts -> cosine of each word and its nearest in each text, shape (words, texts); length of each word."""


@dataclass(frozen=True, slots=True)
class Word:
    """`stems`: one, or the pairs of signs of a run without spaces. `named`: it has a digit, or a capital that no
    sentence gave it."""

    text: str
    stems: tuple[str, ...]
    named: bool


def aligned(question: str, sentences: Sequence[Candidate], nearest: Nearest, idf: Mapping[str, float]) -> float:
    """Of the question's weight, what the best sentence has, with its title. In [0, 1]; 1 where nothing is asked."""
    words = question_words(question)
    if not words or not sentences:
        return float(not words)
    texts = [f"{each.passage.title} {each.text}" for each in sentences]
    cosines, lengths = nearest([word.text for word in words], texts)
    rarities = np.array([sum(weight(idf, each) for each in word.stems) / len(word.stems) for word in words])
    weights = rarities * np.maximum(lengths, 1e-3)
    worth = np.array([_worth(words, each, text) for each, text in zip(sentences, texts, strict=True)])
    near = np.where([word.named for word in words], 0.0, np.clip(cosines.T, 0.0, 1.0))
    return float(np.max(np.maximum(worth, near) @ (weights / weights.sum())))


@lru_cache(maxsize=256)
def question_words(question: str) -> tuple[Word, ...]:
    found = dict[str, Word]()
    for place, match in enumerate(TOKEN.finditer(question)):
        text = match.group()
        if text in found or text.casefold() in STOP:
            continue
        named = (place > 0 and text[0].isupper()) or any(sign.isdigit() for sign in text)
        found[text] = Word(text, tuple(content_words(text)) or (text.casefold(),), named)
    return tuple(found.values())[:MOST_WORDS]


def _worth(words: Sequence[Word], sentence: Candidate, text: str) -> list[float]:
    """Of each word, what stands there as it is, or as a form of it."""
    here = _forms(text)
    return [
        sum(1.0 if _form(each) in here else BEFORE * (each in sentence.before) for each in word.stems) / len(word.stems)
        for word in words
    ]


@lru_cache(maxsize=2048)  # the next question reads some of them again
def _forms(text: str) -> frozenset[str]:
    return frozenset(_form(word) for word in content_words(text))


@lru_cache(maxsize=20_000)
def _form(stemmed: str) -> str:
    return _STEMMED_FORMS.get(stemmed, stemmed)


_STEMMED_FORMS = {stem(form): stem(first) for form, first in FORMS.items()}
