"""What Chainlit shows of a turn: plain dictionaries, the same whether it is under way or comes from history.

One turn is a run (its id is the turn's, which is what feedback names) under the question, with one step per graph node
under a step that folds them together, the answer, and an element with its sources, notes and next questions.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from inference.extractive import ExtractiveWriter
from memory.conversations import Turn, facts_of
from ui import markup

ASSISTANT = "AegisRAG"
RUN = "on_message"  # Chainlit treats runs of this name as the frame of an answer

Shown = dict[str, Any]

_LABELS: Mapping[str, tuple[str, str]] = {
    "condense": ("Reading the question", "Question"),
    "recall": ("Looking at earlier turns", "Memory"),
    "cache": ("Looking for a known answer", "Known answers"),
    "keep": ("Keeping the answer", "Kept"),
    "route": ("Choosing a way", "Route"),
    "retrieve": ("Searching the documents", "Search"),
    "consult_graph": ("Consulting the graph", "Graph"),
    "ground": ("Judging the passages", "Evidence"),
    "rewrite": ("Rephrasing the search", "Second attempt"),
    "generate": ("Writing", "Answer"),
    "verify": ("Checking the citations", "Check"),
    "abstain": ("Abstaining", "Abstained"),
    "inventory": ("Counting in the catalogue", "Catalogue"),
    "converse": ("Answering", "Small talk"),
    "recount": ("Telling from earlier turns", "Earlier turns"),
    "dispute": ("Looking at what the answer rested on", "Said to be wrong"),
    "remember": ("Saving", "Saved"),
}
MOST_WAYS = 3  # drawn under an answer
MOST_CITED = 3  # documents of which is shown what a model claimed and was held back
_TELLING = ("inventory", "recount", "dispute", "converse", "abstain", "consult_graph", "retrieve")
_OUTCOMES = {
    "stopped": "Stopped: this is as far as the answer had come.",
    "failed": "This answer failed before it was complete.",
    "interrupted": "The server was stopped while this was being answered.",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the parts of one turn hang."""

    turn_id: str
    thread_id: str
    question_id: str
    at: str  # ISO 8601, UTC

    def part(self, name: str) -> str:
        return str(uuid.uuid5(uuid.UUID(self.turn_id), name))


def moment(value: datetime | None) -> str:
    return (value or datetime.now(UTC)).astimezone(UTC).isoformat().replace("+00:00", "Z")


def frame_of(turn: Turn) -> Frame:
    """Of a turn from history; while it is under way its question has the id that the browser gave it."""
    frame = Frame(turn.id, turn.conversation_id, "", moment(turn.created_at))
    return Frame(turn.id, turn.conversation_id, frame.part("question"), frame.at)


def question(frame: Frame, text: str, user: str) -> Shown:
    return _step(frame, frame.question_id, None, user, "user_message", text)


def run(frame: Frame, *, over: bool, feedback: Mapping[str, Any] | None = None) -> Shown:
    shown = _step(frame, frame.turn_id, frame.question_id, RUN, "run", "", over=over)
    if feedback and feedback.get("value"):
        comment = str(feedback.get("comment") or "")
        shown["feedback"] = {
            "id": frame.turn_id,
            "forId": frame.turn_id,
            "value": int(feedback["value"] > 0),
            "comment": comment or None,
        }
    return shown


def trail(frame: Frame, steps: Sequence[Mapping[str, Any]], *, over: bool) -> Shown:
    """The step that holds the others: open while they run, one line afterwards."""
    name = _trail_name(steps) if over else "Looking for the answer …"
    shown = _step(frame, frame.part("trail"), frame.turn_id, name, "tool", "", over=over)
    return {**shown, "defaultOpen": not over, "autoCollapse": True}


def node(frame: Frame, number: int, step: Mapping[str, Any], *, over: bool) -> Shown:
    """`step`: node, summary, took_ms, detail. `number` tells a node's second run from its first."""
    running, done = _LABELS.get(str(step["node"]), (str(step["node"]), str(step["node"])))
    name = _node_name(done, step) if over else f"{running} …"
    output = _detail(step.get("detail") or {}) if over else ""
    return _step(frame, frame.part(f"step {number}"), frame.part("trail"), name, "tool", output, over=over)


def answer(frame: Frame, text: str, *, streaming: bool = False) -> Shown:
    """`text` is markdown that was made safe already."""
    shown = _step(frame, frame.part("answer"), frame.turn_id, ASSISTANT, "assistant_message", text)
    return {**shown, "streaming": streaming}


def error(frame: Frame, message: str) -> Shown:
    return {**answer(frame, markup.plain(message)), "isError": True}


def aside(thread_id: str, question_id: str, text: str, *, identifier: str, is_error: bool = False) -> Shown:
    """A message under a question that belongs to no turn."""
    frame = Frame(identifier, thread_id, question_id, moment(None))
    return {**_step(frame, identifier, question_id, ASSISTANT, "assistant_message", text), "isError": is_error}


def written(text: str, turn_id: str, *, by_model: bool) -> str:
    """An answer, or as much of it as there is, for the page's markdown."""
    return markup.formatted(text, turn_id) if by_model else markup.plain(text, turn_id)


def is_model(name: str) -> bool:
    return name not in ("", ExtractiveWriter.name)


def final_text(turn: Turn) -> str:
    if turn.answer:
        return written(turn.answer, turn.id, by_model=is_model(turn.model))
    return markup.plain(_OUTCOMES.get(turn.state, "There is no answer."))


def sources(
    frame: Frame, turn: Turn, followups: Sequence[str] = (), recalled: Mapping[str, Any] | None = None
) -> Shown | None:
    """The element under an answer; None when there is nothing to say there. `recalled`: what the answer would be today,
    as `AnswerRecalls.of` tells it."""
    notes = [
        *turn.notes,
        *_from_cache(turn),
        *([_OUTCOMES[turn.state]] if turn.state in _OUTCOMES and turn.answer else []),
    ]
    citations = _by_marker(turn)
    standing = turn.abstained and turn.state == "done" and turn.route in ("retrieve", "relate")
    told, offer = written_by(turn), dict(turn.offer) if turn.offer else None
    today = _today(recalled) if recalled else None
    if not (citations or notes or followups or standing or told or today):
        return None
    props = {"turn": turn.id, "citations": citations, "notes": notes, "followups": list(followups)}
    props |= {"fresh": bool(turn.cached), "standing": standing}
    props |= {"told": told, "offer": offer, "today": today}
    return element(frame.part("sources"), frame.thread_id, "Sources", frame.part("answer"), props)


def _today(recalled: Mapping[str, Any]) -> Shown:
    """What changed about an answer whose source has changed or gone; nothing yet where it waits to be asked again."""
    told = "A source of this answer has changed since; it will be looked at again."
    if recalled["state"] == "different":
        none = "the documents no longer answer it." if recalled.get("abstained") else "what follows has changed."
        told = f"This answer would be different today: {none}"
    shown = {name: [_MARK.sub("", text) for text in recalled.get(name, ())] for name in ("gone", "new")}
    return {"told": told, **shown, "sources": list(recalled.get("sources", ()))}


_MARK = re.compile(r"\s*\[\d+\]")


def graph(frame: Frame, turn: Turn) -> Shown | None:
    """The element with what the graph led to: ways from name to name, and facts; None where it led to nothing."""
    details = [step.get("detail") or {} for step in turn.steps]
    paths = [way for detail in details for way in (detail.get("path") or [], *(detail.get("via") or ()))]
    ways = [way for way in dict.fromkeys(map(_without_repeats, paths)) if len(way) > 1]
    facts = facts_of(turn)
    if turn.abstained or not (ways or facts):
        return None
    cited = list(dict.fromkeys(citation.document_id for citation in turn.citations))[:MOST_CITED]
    props = {"ways": [list(way) for way in ways][:MOST_WAYS], "facts": facts, "documents": cited}
    props |= {"open": turn.route == "dispute"}
    return element(frame.part("graph"), frame.thread_id, "Graph", frame.part("answer"), props)


def _without_repeats(way: Sequence[Any]) -> tuple[str, ...]:
    """A step from one passage of a document to another of the same is none."""
    return tuple(name for name, _ in groupby(map(str, way)))


def below(
    frame: Frame, turn: Turn, followups: Sequence[str] = (), recalled: Mapping[str, Any] | None = None
) -> list[Shown]:
    """The elements under an answer."""
    return [shown for shown in (sources(frame, turn, followups, recalled), graph(frame, turn)) if shown]


def _from_cache(turn: Turn) -> list[str]:
    if not turn.cached:
        return []
    when = str(turn.cached["answered_at"])[:16].replace("T", " ")
    like = f" to “{turn.cached['question']}”" if turn.cached["near"] else ""
    return [f"Known answer: given{like} on {when} UTC, and its sources are still the same."]


def written_by(turn: Turn) -> str:
    """Model, tokens, time to the first token and cost on one line; empty where no model wrote."""
    if not is_model(turn.model):
        return ""
    said = [turn.model, f"{turn.tokens_in} + {turn.tokens_out} tokens"]
    if turn.first_token_ms is not None:
        said.append(f"first token after {_duration(turn.first_token_ms)}")
    said.append(f"${turn.cost:.6f}" if turn.cost else "no cost")
    return " · ".join(said)


def element(identifier: str, thread_id: str, name: str, for_id: str, props: Mapping[str, Any]) -> Shown:
    """One of ours (`site/public/elements/{name}.jsx`)."""
    return {
        "id": identifier,
        "threadId": thread_id,
        "type": "custom",
        "name": name,
        "display": "inline",
        "forId": for_id,
        "props": dict(props),
        "mime": "application/json",
    }


def turn_shown(turn: Turn, user: str, recalled: Mapping[str, Any] | None = None) -> tuple[list[Shown], list[Shown]]:
    """Steps (parents first) and elements of a turn from history. One under way ends after its run."""
    frame, over = frame_of(turn), turn.state != "running"
    steps = [question(frame, turn.question, user), run(frame, over=over, feedback=turn.feedback)]
    if not over:
        return steps, []
    if turn.steps:
        steps.append(trail(frame, turn.steps, over=True))
        steps += [node(frame, number, step, over=True) for number, step in enumerate(turn.steps)]
    steps.append(answer(frame, final_text(turn)))
    return steps, below(frame, turn, recalled=recalled)


def _step(
    frame: Frame, identifier: str, parent: str | None, name: str, kind: str, output: str, *, over: bool = True
) -> Shown:
    return {
        "id": identifier,
        "threadId": frame.thread_id,
        "parentId": parent,
        "name": name,
        "type": kind,
        "input": "",
        "output": output,
        "createdAt": frame.at,
        "start": frame.at,
        "end": frame.at if over else None,
        "streaming": False,
        "isError": False,
        "metadata": {"avatarName": ASSISTANT},
        "showInput": False,
    }


def _trail_name(steps: Sequence[Mapping[str, Any]]) -> str:
    took = sum(float(step.get("took_ms") or 0.0) for step in steps)
    found = [step for wanted in _TELLING for step in steps if step["node"] == wanted and step.get("summary")]
    told = f" · {found[0]['summary']}" if found else ""
    return f"{len(steps)} steps{told} · {_duration(took)}"


def _node_name(label: str, step: Mapping[str, Any]) -> str:
    words = str(step.get("summary") or "") if step["node"] != "condense" else ""  # a question again; it unfolds
    told = f": {words}" if words and words != label else ""
    return f"{label}{told} · {_duration(float(step.get('took_ms') or 0.0))}"


def _duration(milliseconds: float) -> str:
    if milliseconds < 1:
        return "under 1 ms"
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def _detail(detail: Mapping[str, Any]) -> str:
    lines = [f"{label}: {markup.plain(str(detail[key]))}" for key, label in _TEXTS if detail.get(key)]
    lines += _documents(detail.get("hits", ()))
    lines += [f"- {markup.plain(fact['text'])}" for fact in detail.get("facts", ())]
    if path := detail.get("path"):
        lines.append("Path: " + " → ".join(markup.plain(str(name)) for name in path))
    lines += [f"_{markup.plain(str(note))}_" for note in detail.get("notes", ())]
    return "\n".join(lines)


_TEXTS = (("standalone", "Understood as"), ("query", "Searched for"), ("model", "Written by"))


def _documents(hits: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each document once, with the scores of its passages and how they were reached."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for hit in hits:
        via = f" through {markup.plain(' → '.join(map(str, hit['via'])))}" if hit.get("via") else ""
        grouped.setdefault((str(hit["document_id"]), str(hit["title"])), []).append(f"{float(hit['score']):.2f}{via}")
    return [f"- **{markup.plain(title)}**: {', '.join(scores)}" for (_, title), scores in grouped.items()]


def _by_marker(turn: Turn) -> list[Shown]:
    """Each marker once, with every span that was cited under it."""
    grouped: dict[int, Shown] = {}
    for citation in turn.citations:
        told = asdict(citation)
        span = {key: told.pop(key) for key in ("start", "end", "quote", "support")}
        grouped.setdefault(citation.marker, {**told, "spans": []})["spans"].append(span)
    return [grouped[marker] for marker in sorted(grouped)]
