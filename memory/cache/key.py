"""What two questions must have in common, besides their words, to share an answer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from aegis.scope import derived_id, text_hash

_END = re.compile(r"[\s?!.。？！]+$")


def key_of(
    *,
    user: str,
    collections: Sequence[str],
    filters: Mapping[str, Any],
    top_k: int,
    as_of: str | None,
    known_at: int | None,
    mode: str,
    by: str,
) -> str:
    """`by`: what makes answers in this process: the model, the version of its prompt, the way of searching."""
    parts = {
        "user": user, "collections": sorted(collections), "filters": dict(filters), "top_k": top_k,
        "as_of": as_of, "known_at": known_at, "mode": mode, "by": by,
    }  # fmt: skip
    return text_hash(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS).decode())[:32]


def entry_id(key: str, question: str) -> str:
    """A UUID, because vector stores want one."""
    return derived_id("answer", key, normalised(question))


def normalised(question: str) -> str:
    """The same for questions that differ in spacing, final marks and the case of their first letter only.

    Case elsewhere may tell a name ("US") from a word ("us").
    """
    text = " ".join(unicodedata.normalize("NFC", question).replace("’", "'").split())
    text = _END.sub("", text)
    return text[:1].lower() + text[1:]
