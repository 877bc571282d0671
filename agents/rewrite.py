"""A second formulation of a question whose first one found too little. Rules only, no model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.runtime import Runtime

from agents.evidence import asked_of
from agents.state import Context, State
from inference.words import STOP, TOKEN, stem, tokens

# Both ways round. Those of this trade first; an organisation's own are not known here.
ACRONYMS = {
    "api": "application programming interface",
    "bm25": "keyword ranking",
    "cli": "command line",
    "ci": "continuous integration",
    "cpu": "processor",
    "csv": "comma separated values",
    "db": "database",
    "docs": "documents",
    "env": "environment",
    "eula": "licence agreement",
    "gdpr": "general data protection regulation",
    "gpu": "graphics processor",
    "hr": "human resources",
    "id": "identifier",
    "jwt": "json web token",
    "k8s": "kubernetes",
    "kb": "knowledge base",
    "kpi": "key performance indicator",
    "llm": "large language model",
    "mfa": "multi factor authentication",
    "nda": "non disclosure agreement",
    "ocr": "optical character recognition",
    "os": "operating system",
    "pii": "personal data",
    "pto": "paid time off",
    "rag": "retrieval augmented generation",
    "ram": "memory",
    "rest": "http interface",
    "rrf": "reciprocal rank fusion",
    "sla": "service level agreement",
    "sql": "structured query language",
    "sse": "server sent events",
    "sso": "single sign on",
    "ui": "user interface",
    "url": "address",
    "vpn": "virtual private network",
}
# British and American spelling, and endings that stemming keeps apart.
_SPELLINGS = (
    (re.compile(r"isation(s?)$"), r"ization\1"),
    (re.compile(r"ization(s?)$"), r"isation\1"),
    (re.compile(r"is(e|ed|es|ing)$"), r"iz\1"),
    (re.compile(r"iz(e|ed|es|ing)$"), r"is\1"),
    (re.compile(r"our(s?)$"), r"or\1"),
    (re.compile(r"([bv])or(s?)$"), r"\1our\2"),
    (re.compile(r"([bt])re$"), r"\1er"),
    (re.compile(r"licence"), "license"),
    (re.compile(r"license"), "licence"),
    (re.compile(r"catalogue"), "catalog"),
    (re.compile(r"catalog$"), "catalogue"),
)
LONGEST = 400  # code points of a query
_INNER = re.compile(r"(?<=[a-z])(?=[A-Z])|[_./-]+")


@dataclass(frozen=True)
class Rewrite:
    """Node: sets `query` and counts `attempts`."""

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        attempts = state.get("attempts", 0)
        titles = [hit["title"] for hit in state.get("found", [])]
        return {"query": reworded(asked_of(state), titles, attempts), "attempts": attempts + 1}


def reworded(question: str, titles: Sequence[str] = (), attempt: int = 0) -> str:
    """The question's content words with other forms of them, never the question again.

    A second attempt keeps only the words themselves and drops those that the titles found so far already have, so
    that the search looks elsewhere.
    """
    words = _content(question)
    if attempt > 0:
        seen = {stem(token) for title in titles for token in tokens(title)}
        fewer = [word for word in words if stem(word.casefold()) not in seen]
        words = fewer or words
    else:
        words = [*words, *_expanded(question, words)]
    reformed = " ".join(dict.fromkeys(words))[:LONGEST].strip()
    return reformed if reformed and reformed != question else question


def _content(question: str) -> list[str]:
    return [word for word in TOKEN.findall(question) if word.casefold() not in STOP]


def _expanded(question: str, words: Sequence[str]) -> Iterator[str]:
    """Spelled-out acronyms and acronyms of what is spelled out, other spellings, parts of identifiers, bare stems."""
    folded = " ".join(tokens(question))
    for acronym, meaning in ACRONYMS.items():
        if re.search(rf"\b{acronym}\b", folded):
            yield meaning
        elif re.search(rf"\b{meaning}\b", folded):
            yield acronym
    for word in words:
        lower = word.casefold()
        yield from (pattern.sub(other, lower) for pattern, other in _SPELLINGS if pattern.search(lower))
        yield from (part.casefold() for part in _INNER.split(word) if part and part != word)
        if lower.isascii() and lower.endswith("s") and len(lower) > 4:
            yield lower[:-1]
