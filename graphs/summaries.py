"""What each step found, in a few words and as a small JSON object, from the keys it changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

SHOWN_HITS = 5
SHOWN_FACTS = 10
SHOWN_CHARS = 300

Changes = Mapping[str, Any]


def summary(node: str, changes: Changes) -> str:
    describe = _SUMMARIES.get(node)
    return describe(changes) if describe else ""


def detail(changes: Changes) -> dict[str, Any]:
    """Ids, titles, scores and short texts only."""
    shown = {key: changes[key] for key in ("route", "enough", "judged", "model", "path") if changes.get(key)}
    for key in ("standalone", "query"):
        if changes.get(key):
            shown[key] = str(changes[key])[:SHOWN_CHARS]
    if found := changes.get("found"):
        shown["hits"] = [dict(hit) for hit in sorted(found, key=lambda hit: -hit["score"])[:SHOWN_HITS]]
        if led := _led(found):
            shown["via"] = led
    if facts := changes.get("facts"):
        shown["facts"] = [{**fact, "text": fact["text"][:SHOWN_CHARS]} for fact in facts[:SHOWN_FACTS]]
    if notes := changes.get("notes"):
        shown["notes"] = list(notes)
    return shown


def _led(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Titles of the passages that mentions led along, for the best hits found in that way."""
    titles = {hit["chunk_id"]: hit["title"] for hit in found}
    ways = ([*(titles[step] for step in hit["via"] if step in titles), hit["title"]] for hit in found if hit["via"])
    return [way for way in ways if len(way) > 1][:SHOWN_HITS]


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _condensed(changes: Changes) -> str:
    return f"Understood as: {str(changes['standalone'])[:SHOWN_CHARS]}"


def _recalled(changes: Changes) -> str:
    recalled = changes.get("recalled", ())
    return f"{_count(len(recalled), 'earlier turn')} found" if recalled else "Not about earlier turns"


def _routed(changes: Changes) -> str:
    return {
        "retrieve": "Look in the documents",
        "relate": "Look in the documents and the graph",
        "converse": "Small talk",
        "inventory": "Count in the catalogue",
        "recall": "Look in our conversations",
        "dispute": "Look at what the answer before rested on",
    }[changes["route"]]


def _cached(changes: Changes) -> str:
    if not (cached := changes.get("cached")):
        return "Not answered before"
    day, time = cached["answered_at"][:10], cached["answered_at"][11:16]
    return f"Answered on {day} at {time} already"


def _retrieved(changes: Changes) -> str:
    if changes.get("notes"):
        return "The index was out of reach"
    return f"{_count(len(changes.get('found', ())), 'passage')} found"


def _consulted(changes: Changes) -> str:
    if changes.get("notes"):
        return "; ".join(changes["notes"])
    facts, found = changes.get("facts", ()), changes.get("found", ())
    path = f", path {' → '.join(changes['path'])}" if changes.get("path") else ""
    return f"{_count(len(facts), 'fact')} and {_count(len({hit['chunk_id'] for hit in found}), 'passage')} found{path}"


def _grounded(changes: Changes) -> str:
    return "The passages answer it" if changes.get("enough") else "The passages hardly answer it"


def _generated(changes: Changes) -> str:
    return f"Written by {changes['model']}" if changes.get("model") else "Written"


def _verified(changes: Changes) -> str:
    return f"{_count(len(changes.get('citations', ())), 'citation')} checked"


_SUMMARIES: Mapping[str, Callable[[Changes], str]] = {
    "condense": _condensed,
    "recall": _recalled,
    "cache": _cached,
    "route": _routed,
    "retrieve": _retrieved,
    "consult_graph": _consulted,
    "ground": _grounded,
    "rewrite": lambda changes: f"Searching again for: {str(changes.get('query', ''))[:SHOWN_CHARS]}",
    "generate": _generated,
    "verify": _verified,
    "abstain": lambda _: "No answer in the documents",
    "inventory": lambda changes: "Declined" if changes.get("abstained") else "Counted",
    "converse": lambda _: "Answered without looking anything up",
    "recount": lambda changes: "Nothing to tell" if changes.get("abstained") else "Told from earlier turns",
    "dispute": lambda changes: f"{_count(len(changes.get('facts', ())), 'fact')} to be put right",
    "remember": lambda _: "Saved",
}
