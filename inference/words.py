"""Content words of a text: what questions, passages and answers are compared by."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

TOKEN = re.compile(r"[^\W_]+")
# Scripts written without spaces: compared by pairs of characters.
UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")

_STOP_WORDS = """
a about above after again all also am an and any are as at be because been before being below between both but by
can could did do does doing down during each few for from further had has have having he her here hers him his how i
if in into is it its itself just me more most my no nor not now of off on once only or other our ours out over own s
same she should so some such t than that the their theirs them then there these they this those through to too under
until up very was we were what when where which while who whom whose why will with would you your yours please tell
give show explain describe list name many much long often called kind sort mean means der die das den dem des ein
eine einer eines und oder ist sind war waren wird werden mit von zu im in auf für wie was wer wo wann warum welche
welcher welches nicht auch es sich le la les un une des du de et ou est sont était qui que quoi où quand comment
pourquoi quel quelle dans pour par sur avec au aux ne pas ce cette el los las una unos y o es son era qué quién
dónde cuándo cómo por para con en del al se su il lo gli uno e è sono che chi dove quando come perché di da nel con
per si
"""
STOP = frozenset(_STOP_WORDS.split())

_SUFFIXES = ("ations", "ation", "ments", "ment", "ings", "ing", "ies", "edly", "ed", "ers", "er", "ly", "es", "s", "e")


def tokens(text: str) -> list[str]:
    """Casefolded words in order; runs of unspaced scripts become overlapping pairs of characters."""
    found: list[str] = []
    for match in TOKEN.finditer(text.casefold()):
        word = match.group()
        if word.isascii():
            found.append(word)
        else:
            found.extend(_split_unspaced(word))
    return found


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """A light stem: enough that `stores`, `stored` and `storing` meet. Never shorter than three letters."""
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    for suffix in _SUFFIXES:
        root = word[: -len(suffix)]
        if word.endswith(suffix) and len(root) >= 3 and not (suffix == "s" and root.endswith(("s", "u", "i"))):
            return _undoubled(root + "i" if suffix == "ies" else root)
    return word[:-1] + "i" if word.endswith("y") else word


def content_words(text: str) -> list[str]:
    """Stems of the words that carry meaning, in order, repeats kept."""
    return [stem(token) for token in tokens(text) if token not in STOP]


def rarity(texts: Iterable[Collection[str]]) -> Mapping[str, float]:
    """Inverse document frequency over sets of words; ask `weight` for words that occur nowhere."""
    counts: Counter[str] = Counter()
    total = 0
    for words in texts:
        counts.update(set(words))
        total += 1
    return {word: math.log(1 + (total - count + 0.5) / (count + 0.5)) for word, count in counts.items()} | {
        "": math.log(1 + (total + 0.5) / 0.5)
    }


def weight(idf: Mapping[str, float], word: str) -> float:
    """The word's weight; a word seen nowhere weighs most."""
    return idf.get(word, idf.get("", 1.0))


def coverage(wanted: Collection[str], present: Collection[str], idf: Mapping[str, float]) -> float:
    """Share of the weight of `wanted` that is among `present`, in [0, 1]; 0 where nothing is wanted."""
    whole = sum(weight(idf, word) for word in wanted)
    return sum(weight(idf, word) for word in wanted if word in present) / whole if whole else 0.0


def _undoubled(root: str) -> str:
    doubled = len(root) > 3 and root[-1] == root[-2] and root[-1] not in "lsz"
    return root[:-1] if doubled else root


def _split_unspaced(word: str) -> list[str]:
    found: list[str] = []
    position = 0
    for run in UNSPACED.finditer(word):
        if run.start() > position:
            found.append(word[position : run.start()])
        characters = run.group()
        found.extend(characters[i : i + 2] for i in range(max(1, len(characters) - 1)))
        position = run.end()
    if position < len(word):
        found.append(word[position:])
    return found
