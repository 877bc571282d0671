"""How much of a question a text holds, by its words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from memory.naming import STARTS_NO_NAME, key, words


def overlap(query: str, texts: Sequence[str]) -> list[float]:
    """How much of the question each text holds, 0 to 1; a word that few of the texts have counts more."""
    held = [content_words(text) for text in texts]
    wanted = content_words(query)
    common = Counter(word for text in held for word in text & wanted)
    weight = {word: math.log(1 + (len(texts) + 1) / (common[word] + 0.5)) for word in wanted}
    total = sum(weight.values()) or 1.0
    return [sum(weight[word] for word in text & wanted) / total for text in held]


def content_words(text: str) -> set[str]:
    """Words that say something, cut to a stem of sorts: enough to match `founded` and `founder`."""
    return {key(word.text)[:6] for word in words(text) if word.text.casefold() not in STARTS_NO_NAME}
