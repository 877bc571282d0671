"""Text -> BM25 vectors, with Qdrant Edge's encoder on both profiles, so that both rank alike.

A text is encoded in parts: words by the stemmer of its language; scripts without spaces as overlapping groups of
letters, which need no dictionary and are the same in a passage and in a question copied from it; identifiers
("ERR_CONN_42", "foo.bar") once more as they stand. `NAME` changes with any of it: other vectors are made anew.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from retrieval.language import UNSPACED, candidates, language_of
from retrieval.store import Sparse

NAME = "bm25-edge-2"
AVERAGE_LENGTH = 100.0  # tokens of a chunk; k and b hardly matter on the sets measured, this and folding accents do
B = 0.6

_RUN = re.compile(f"[{UNSPACED}][{UNSPACED}\u0300-\u036f]*")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
# Signs of a syllable or more: two of them tell as much as three letters of the other scripts.
_SYLLABIC = re.compile(f"[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f\uac00-\ud7a3{_HAN.pattern[1:-1]}]")
_JOINED = re.compile(r"(?<![\w./:-])[A-Za-z0-9]+(?:(?:::|[_.:/+-])[A-Za-z0-9]+)*(?![\w])")
_TELLING = re.compile(r"(?=.*[A-Za-z])(?:.*[\d_.:/].*)", re.S)
_MOST_IDENTIFIER = 120  # characters


class KeywordEncoder:
    """Documents carry BM25 term weights, queries ones; the engine multiplies by the inverse document frequency."""

    name = NAME

    def documents(self, texts: Sequence[str]) -> list[Sparse]:
        """About 5 MB of text per second; holds the interpreter, so pass a handful of chunks at a time."""
        return [_merged(_document_parts(_plain(text))) for text in texts]

    def query(self, text: str) -> Sparse:
        """Every language that the text may be in adds its stems: those that no passage has find nothing."""
        return _merged(_query_parts(_plain(text)))


def _document_parts(text: str) -> Iterator[Any]:
    grams = " ".join(_grams(text, single=True))
    if grams:
        yield _grams_encoder().embed_document(grams)
        text = _RUN.sub(" ", text)
    yield _words_encoder(language_of(text)).embed_document(text)
    if whole := " ".join(identifiers(text)):
        yield _whole_encoder().embed_document(whole)


def _query_parts(text: str) -> Iterator[Any]:
    grams = " ".join(_grams(text, single=False))
    if grams:
        yield _grams_encoder().embed_query(grams)
        text = _RUN.sub(" ", text)
    for language in candidates(text):
        yield _words_encoder(language).embed_query(text)
    if whole := " ".join(identifiers(text)):
        yield _whole_encoder().embed_query(whole)


def identifiers(text: str) -> Iterator[str]:
    """Names with digits, underscores, dots, slashes or colons in them, in small letters; the tokenizer splits them."""
    for found in _JOINED.finditer(text):
        name = found.group()
        if len(name) <= _MOST_IDENTIFIER and _TELLING.match(name):
            yield name.lower()


def _grams(text: str, single: bool) -> Iterator[str]:
    """Overlapping pairs or triples of each run of signs without spaces; shorter runs whole; `single`: Han signs too."""
    if text.isascii():
        return
    for found in _RUN.finditer(text):
        run = found.group()
        size = 2 if _SYLLABIC.search(run) else 3
        if len(run) <= size:
            yield run
        else:
            yield from (run[start : start + size] for start in range(len(run) - size + 1))
        if single and len(run) > 1:
            yield from _HAN.findall(run)


@cache
def _words_encoder(language: str) -> Any:
    from qdrant_edge import Bm25, Bm25Config

    return Bm25(Bm25Config(language=language, ascii_folding=True, avg_len=AVERAGE_LENGTH, b=B))


@cache
def _grams_encoder() -> Any:
    return _verbatim(2 * AVERAGE_LENGTH)


@cache
def _whole_encoder() -> Any:
    return _verbatim(AVERAGE_LENGTH)


def _verbatim(length: float) -> Any:
    """Tokens are what stands between spaces, as it is."""
    from qdrant_edge import Bm25, Bm25Config, DisabledStemmer, StopwordsSet, TokenizerType

    nothing = StopwordsSet(custom=set())
    config = Bm25Config(
        tokenizer=TokenizerType.Whitespace, stopwords=nothing, stemmer=DisabledStemmer(), avg_len=length, b=B
    )
    return Bm25(config)


def _merged(parts: Iterator[Any]) -> Sparse:
    found = dict[int, float]()
    for part in parts:
        for index, value in zip(part.indices, part.values, strict=True):
            found[index] = max(value, found.get(index, 0.0))
    return Sparse(tuple(found), tuple(found.values()))


def _plain(text: str) -> str:
    """One form for full-width and other twins of letters. Half of a surrogate pair (from a broken JSON escape, say)
    has no UTF-8 form; the engine would refuse it all."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode("utf-8"))
