"""Binds every `[n]` of an answer to the sentences that support it, before the answer leaves.

Invented markers go, habits of small models are mended, clear support that was not named is added, and an answer that
nothing supports becomes an abstention.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

from langgraph.runtime import Runtime

from aegis.scope import Scope
from agents.abstain import abstention
from agents.evidence import Chunks, gather
from agents.prompts import NOT_FOUND
from agents.state import Context, State, token
from inference.sentences import Sentence, sentences
from inference.words import content_words
from memory.conversations import Citation
from memory.facts.conflicts import Conflict, told
from retrieval.chunk import Chunk

KEPT = 0.1  # a named passage that shares less with its sentence is no evidence for it
CLEAR = 0.6  # support from which an unnamed or better passage is named
WORTH = 0.15  # what a wider quote must add to the support
REPEATABLE = 3  # content words from which a repeated sentence is taken for one; "Yes." may come twice
MOST_DISAGREEMENTS = 3  # told with an answer
LONGEST_QUOTE = 4  # sentences; a list may need more, one per claim

WITHHELD = "The model's answer was withheld, because no passage supports it."

_NUMBERS = r"\d{1,3}(?:\s*[,;&]\s*(?:and\s+)?\d{1,3})*"
_HABITS = re.compile(
    rf"【\s*({_NUMBERS})[^】]{{0,40}}】|\[\^({_NUMBERS})\]|\[\s*({_NUMBERS})\s*\]"
    rf"|[(\[]\s*(?:sources?|evidence|passages?|docs?|documents?|refs?|ids?)\s*[:#=]?\s*\"?({_NUMBERS})\"?\s*[)\]]",
    re.IGNORECASE,
)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_MARKERS = re.compile(r"(?:\s*\[\d{1,3}\])+")
_MARKER = re.compile(r"\[(\d{1,3})\]")
_LEADING = re.compile(r"(?:\[\d{1,3}\]\s*)+")
_REFUSAL = re.compile(
    rf"{re.escape(NOT_FOUND)}|\bthe (?:documents|evidence|passages|provided \w+)(?: provided)? (?:do|does) not "
    r"(?:say|mention|contain|answer|provide|specify)",
    re.IGNORECASE,
)


class Disagreements(Protocol):
    async def of_chunks(self, scope: Scope, chunk_ids: Sequence[str]) -> Sequence[Conflict]: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the answer: `lead` and `tail` are the space around it, `markers` the passages it names."""

    lead: str
    text: str
    markers: tuple[int, ...]
    words: frozenset[str]
    ends_block: bool

    def written(self) -> str:
        marks = "".join(f"[{marker}]" for marker in self.markers)
        return self.lead + self.text + (f" {marks}" if marks else "")


@dataclass(frozen=True, slots=True)
class Support:
    """The best quote one passage has for a claim; `share` of the claim's words, in [0, 1]."""

    start: int
    end: int
    share: float


@dataclass(frozen=True, slots=True)
class Source:
    """A passage ready for looking up: its chunk and its sentences with their words."""

    chunk: Chunk
    parts: tuple[Sentence, ...]
    words: tuple[frozenset[str], ...]


@dataclass(frozen=True)
class Verify:
    """Node: sets `answer`, `citations` and, where nothing supports the answer, `abstained`."""

    chunks: Chunks
    conflicts: Disagreements | None = None

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        if state.get("abstained"):
            return {"citations": []}
        evidence = await gather(self.chunks, runtime.context.scope, state)
        answer, citations = verified(state.get("answer", ""), {passage.marker: chunk for passage, chunk in evidence})
        if citations:
            answer, citations = renumbered(answer, citations)
            changed = {"answer": answer, "citations": [asdict(citation) for citation in citations], "abstained": False}
            return changed | {"notes": await self._disagreements(runtime.context.scope, citations)}
        refusal = abstention(state)
        if not answer:
            runtime.stream_writer(token(refusal))
        notes = [WITHHELD] if answer and not _REFUSAL.search(answer) else []
        return {"answer": refusal, "citations": [], "abstained": True, "notes": notes}

    async def _disagreements(self, scope: Scope, citations: Sequence[Citation]) -> list[str]:
        """What the answer rests on and other documents say otherwise."""
        if self.conflicts is None:
            return []
        found = await self.conflicts.of_chunks(scope, list(dict.fromkeys(one.chunk_id for one in citations)))
        return [told(conflict) for conflict in found[:MOST_DISAGREEMENTS]]


def verified(answer: str, chunks: Mapping[int, Chunk]) -> tuple[str, list[Citation]]:
    """The answer with its markers mended, and a citation for each marker and quote, in order of appearance.

    `chunks[n]` is passage n. A refusal in the model's own words has no citation.
    """
    sources = {marker: _source(chunk) for marker, chunk in chunks.items()}
    claims = [_bound(claim, sources) for claim in _said_once(_claims(_mended(answer)))]
    claims = [_completed(claims, i, sources) for i in range(len(claims))]
    citations = list(dict.fromkeys(_citations(claims, sources)))
    return "".join(claim.written() for claim in claims).strip(), citations


def renumbered(answer: str, citations: Sequence[Citation]) -> tuple[str, list[Citation]]:
    """The same with markers that count from 1 in the order of reading, code left alone."""
    numbers = {marker: i for i, marker in enumerate(dict.fromkeys(each.marker for each in citations), start=1)}

    def anew(match: re.Match[str]) -> str:
        number = int(match[1])
        return f"[{numbers[number]}]" if number in numbers else match[0]

    return _outside_code(answer, _MARKER, anew), [replace(each, marker=numbers[each.marker]) for each in citations]


def support(claim: frozenset[str], source: Source, widest: int = 2) -> Support | None:
    """The shortest run of sentences that supports the claim best; None without a shared word."""
    best: Support | None = None
    for width in range(1, min(widest, len(source.parts)) + 1):
        for i in range(len(source.parts) - width + 1):
            words = frozenset[str]().union(*source.words[i : i + width])
            share = len(claim & words) / len(claim) if claim else 0.0
            if share > 0 and (best is None or share > best.share + (WORTH if width > 1 else 0)):
                best = Support(source.parts[i].start, source.parts[i + width - 1].end, share)
    return best


def _mended(answer: str) -> str:
    """Every habit of naming sources written as [n]."""
    return _outside_code(answer, _HABITS, _plain)


def _outside_code(text: str, pattern: re.Pattern[str], change: Callable[[re.Match[str]], str]) -> str:
    parts: list[str] = []
    position = 0
    for code in _CODE.finditer(text):
        parts += [pattern.sub(change, text[position : code.start()]), code.group()]
        position = code.end()
    return "".join([*parts, pattern.sub(change, text[position:])])


def _plain(match: re.Match[str]) -> str:
    numbers = next(group for group in match.groups() if group)
    return "".join(f"[{int(number)}]" for number in re.findall(r"\d+", numbers))


def _claims(answer: str) -> list[Claim]:
    """Sentences of the answer in order; what lies between them is kept with the one that follows."""
    claims: list[Claim] = []
    position = 0
    for part in sentences(answer):
        start = part.start
        leading = _LEADING.match(answer, start, part.end) if part.kind != "code" else None
        if leading and claims and "\n" not in answer[position:start].strip(" "):
            claims[-1] = _with_markers(claims[-1], _numbers(leading.group()))
            position = start = leading.end()
            if start >= part.end:
                continue
            claims.append(_claim(" ", answer[start : part.end], part.kind == "code"))
        else:
            claims.append(_claim(answer[position:start], answer[start : part.end], part.kind == "code"))
        position = part.end
    rest = answer[position:].rstrip()
    return _blocks_marked(claims) + ([Claim(rest, "", (), frozenset(), True)] if rest.strip() else [])


def _claim(lead: str, text: str, code: bool) -> Claim:
    if code:
        return Claim(lead, text, (), frozenset(content_words(text)), False)
    bare = _MARKERS.sub("", text)
    return Claim(lead, bare, _numbers(text), frozenset(content_words(bare)), False)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(int(number) for number in _MARKER.findall(text)))


def _with_markers(claim: Claim, markers: Sequence[int]) -> Claim:
    return replace(claim, markers=tuple(dict.fromkeys((*claim.markers, *markers))))


def _blocks_marked(claims: Sequence[Claim]) -> list[Claim]:
    follows = [claim.lead for claim in claims[1:]] + ["\n\n"]
    return [replace(claim, ends_block="\n\n" in lead) for claim, lead in zip(claims, follows, strict=False)]


def _said_once(claims: Sequence[Claim]) -> list[Claim]:
    """Without sentences that were said before word for word; small models repeat themselves. Their markers stay."""
    first: dict[str, int] = {}
    kept: list[Claim] = []
    for claim in claims:
        place = first.setdefault(claim.text.strip().casefold(), len(kept))
        if place < len(kept) and len(claim.words) >= REPEATABLE:
            kept[place] = _with_markers(kept[place], claim.markers)
        else:
            kept.append(claim)
    return kept


def _bound(claim: Claim, sources: dict[int, Source]) -> Claim:
    """Without markers that name nothing or nothing that fits; a far better passage takes their place."""
    if not claim.words:
        return replace(claim, markers=())
    shares = {marker: _share(claim, sources[marker]) for marker in claim.markers if marker in sources}
    kept = tuple(marker for marker, share in shares.items() if share >= KEPT)
    if max(shares.values(), default=0.0) >= 1 - CLEAR or not claim.markers:
        return replace(claim, markers=kept)
    better = _best(claim, sources)
    return replace(claim, markers=(better,) if better else kept)


def _completed(claims: Sequence[Claim], i: int, sources: dict[int, Source]) -> Claim:
    """With a marker where a passage clearly supports the claim and no later marker of its block covers it."""
    claim = claims[i]
    if claim.markers or len(claim.words) < 2 or claim.text.rstrip().endswith((":", "?")):
        return claim
    if any(_share(claim, sources[marker]) >= 0.5 for marker in _next_markers(claims, i)):
        return claim
    better = _best(claim, sources)
    return replace(claim, markers=(better,)) if better else claim


def _next_markers(claims: Sequence[Claim], i: int) -> tuple[int, ...]:
    while i < len(claims):
        if claims[i].markers or claims[i].ends_block:
            return claims[i].markers
        i += 1
    return ()


def _best(claim: Claim, sources: dict[int, Source]) -> int | None:
    shares = {marker: _share(claim, source) for marker, source in sources.items()}
    marker = max(shares, key=lambda known: shares[known], default=None)
    return marker if marker is not None and shares[marker] >= CLEAR else None


def _share(claim: Claim, source: Source) -> float:
    found = support(claim.words, source)
    return found.share if found else 0.0


def _citations(claims: Sequence[Claim], sources: dict[int, Source]) -> Iterator[Citation]:
    """A marker also speaks for the unmarked claims before it in its block, so its quote may be wider."""
    waiting: list[Claim] = []
    for claim in claims:
        for marker in claim.markers:
            group = [other for other in waiting if _share(other, sources[marker]) >= 0.5]
            words = claim.words.union(*(other.words for other in group))
            found = support(words, sources[marker], min(2 + len(group), LONGEST_QUOTE + len(group)))
            if found:
                yield _citation(marker, sources[marker].chunk, found)
        waiting = [] if claim.markers or claim.ends_block else [*waiting, claim]


def _citation(marker: int, chunk: Chunk, found: Support) -> Citation:
    return Citation(
        marker=marker,
        document_id=chunk.document_id,
        version_id=chunk.version_id,
        chunk_id=chunk.id,
        source=chunk.source,
        title=chunk.title,
        start=chunk.span.start + found.start,
        end=chunk.span.start + found.end,
        quote=chunk.text[found.start : found.end],
        support=round(found.share, 3),
        page=chunk.page,
        heading=chunk.heading,
        warning=chunk.warning,
    )


def _source(chunk: Chunk) -> Source:
    return Source(chunk, *_sentences(chunk.text))


@lru_cache(maxsize=256)  # the same passages are cited again and again
def _sentences(text: str) -> tuple[tuple[Sentence, ...], tuple[frozenset[str], ...]]:
    parts = tuple(sentences(text))
    return parts, tuple(frozenset(content_words(text[part.start : part.end])) for part in parts)
